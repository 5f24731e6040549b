package family

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sdgo/sdgo/convert/model"
)

// A model that can't be run is as if its configuration had not been read, unless
// its family is strict.
func TestConfigure(t *testing.T) {
	f := &Family{Read: func(r *Reader) any {
		r.Model.NativeSize = 64
		r.Model.Prediction = "v"
		r.Shape("missing", 2)
		return "a configuration"
	}}
	m := &model.Model{Family: "x", Description: "a model"}
	require.NoError(t, configure(f, m))
	require.Equal(t, &model.Model{Family: "x", Description: "a model"}, m)

	f.Strict = true
	require.ErrorContains(t, configure(f, m), `tensor "missing" is missing`)
	require.Nil(t, m.Config)

	f.Read = func(*Reader) any { return "a configuration" }
	require.NoError(t, configure(f, m))
	require.Equal(t, "a configuration", m.Config)
	require.NoError(t, configure(nil, m))
}

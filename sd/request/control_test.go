package request

import (
	"image"
	"testing"

	"github.com/stretchr/testify/require"
)

// Which preprocessors there are is known before anything is drawn.
func TestPreprocess(t *testing.T) {
	d, photo := Defaults{Side: 64, Align: 8}, image.NewNRGBA(image.Rect(0, 0, 64, 64))
	_, err := Request{Controls: []Control{{Name: "n", Image: photo, Preprocess: "canny:low=50:high=90"}}}.Resolve(d)
	require.NoError(t, err)
	_, err = Request{Controls: []Control{{Name: "n", Image: photo, Preprocess: "depth"}}}.Resolve(d)
	require.ErrorContains(t, err, `Controls[0].Preprocess: preprocessor "depth" needs a network of its own`)
}

package checked

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestFew(t *testing.T) {
	require.Equal(t, []int{1, 2}, Few([]int{1, 2}))
	all := []int{1, 2, 3, 4}
	if On {
		require.Equal(t, []int{1, 4}, Few(all))
	} else {
		require.Equal(t, all, Few(all))
	}
}

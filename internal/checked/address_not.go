//go:build !asan

package checked

const address = false

//go:build race

package checked

const race = true

// Package architecture tests which package of this module may import which. Its
// table of rooms is the one that docs/architecture.md explains.
package architecture

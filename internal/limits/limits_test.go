package limits

import (
	"math"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// fixture is a system whose files are in a folder of testdata.
func fixture(name string, r rlimits) system {
	return system{root: os.DirFS(filepath.Join("testdata", name)), rlimits: func() rlimits { return r }, pageSize: 4096, user: 1000}
}

var none = rlimits{Unlimited, Unlimited, Unlimited}

func nothing(string) uint64 { return 0 }

func TestSystems(t *testing.T) {
	for name, want := range map[string]struct {
		memory  Bound
		threads uint64
		quota   uint64
	}{
		"v1-container": {Bound{450000000, ByGroup}, 11, 1},                // half a processor is one thread
		"v1-nested":    {Bound{100000000, ByGroup}, Unlimited, Unlimited}, // the parent group has the lower limit
		"v2":           {Bound{2300000000, ByGroup}, 100, 2},              // memory.high; 1.5 processors are two threads
		"v2-namespace": {Bound{0, ByGroup}, 0, Unlimited},                 // more is used than allowed
		"hybrid":       {Bound{1500000000, ByGroup}, 10, 1},
		"garbage":      {Bound{Unlimited, ByHost}, Unlimited, Unlimited},
		"huge":         {Bound{Unlimited, ByHost}, Unlimited, Unlimited},
		"missing":      {Bound{Unlimited, ByHost}, Unlimited, Unlimited},
	} {
		t.Run(name, func(t *testing.T) {
			s := fixture(name, none)
			require.Equal(t, want.memory, s.memory(nothing))
			require.Equal(t, want.threads, s.threads())
			require.Equal(t, want.quota, s.quota())
		})
	}
	require.Equal(t, Bound{Unlimited, ByHost}, system{rlimits: func() rlimits { return none }}.memory(nothing))
}

func TestResourceLimits(t *testing.T) {
	memory := func(r rlimits, rest uint64) Bound {
		return fixture("v2", r).memory(func(string) uint64 { return rest })
	}
	const used, data = 250000 * 4096, 100000 * 4096
	require.Equal(t, Bound{1000, ByAddress}, memory(rlimits{used + 1000, Unlimited, Unlimited}, 0))
	require.Equal(t, Bound{900, ByAddress}, memory(rlimits{used + 1000, Unlimited, Unlimited}, 100))
	require.Equal(t, Bound{0, ByAddress}, memory(rlimits{1000, Unlimited, Unlimited}, 0))
	require.Equal(t, Bound{7, ByData}, memory(rlimits{used + 1000, data + 7, Unlimited}, 0))
	require.Equal(t, ByGroup, memory(rlimits{1 << 50, 1 << 50, Unlimited}, 0).By)
	require.Equal(t, Bound{5000, ByAddress}, fixture("garbage", rlimits{5000, Unlimited, Unlimited}).memory(nothing))
	require.Equal(t, Bound{0, ByAddress}, fixture("huge", rlimits{5000, Unlimited, Unlimited}).memory(nothing))

	// The limit applies to the real user's threads, ten here. If even all threads of the
	// machine are far below it, those are used.
	threads := func(s system) uint64 { return s.threads() }
	require.Equal(t, uint64(40), threads(fixture("user", rlimits{Unlimited, Unlimited, 50})))
	require.Equal(t, uint64(0), threads(fixture("user", rlimits{Unlimited, Unlimited, 5})))
	require.Equal(t, uint64(10000-60), threads(fixture("user", rlimits{Unlimited, Unlimited, 10000})))
	root := fixture("user", rlimits{Unlimited, Unlimited, 5})
	root.exempt = true
	require.Equal(t, uint64(Unlimited), threads(root))
	require.Equal(t, uint64(100), threads(fixture("v2", rlimits{Unlimited, Unlimited, math.MaxInt32})))
}

// Memory is not reserved twice.
func TestTake(t *testing.T) {
	before := this
	defer func() { this = before }()
	this = fixture("v1-container", none)
	const room = 450000000 - spare
	require.Equal(t, Bound{room, ByGroup}, Room())
	first, _, ok := Take(400000000)
	require.True(t, ok)
	_, left, ok := Take(20000000)
	require.False(t, ok)
	require.Equal(t, Bound{room - 400000000, ByGroup}, left)
	second, _, ok := Take(room - 400000000)
	require.True(t, ok)
	require.Zero(t, Room().Amount)
	first()
	first() // once is enough
	require.Equal(t, uint64(400000000), Room().Amount)
	second()
	require.Equal(t, uint64(room), Room().Amount)
}

// This process has room for memory and threads.
func TestThisProcess(t *testing.T) {
	require.Greater(t, Memory().Amount, uint64(1<<20))
	require.Positive(t, Threads())
	require.Positive(t, CPUs())
}

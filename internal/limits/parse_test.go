package limits

import (
	"path"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestLevels(t *testing.T) {
	for _, c := range []struct {
		root, group string
		want        []string
	}{
		{"/", "/", []string{"cg"}},
		{"/", "/a/b", []string{"cg/a/b", "cg/a", "cg"}},
		{"/docker/abc", "/docker/abc", []string{"cg"}},
		{"/docker/abc", "/docker/abc/d", []string{"cg/d", "cg"}},
		{"/docker/abc", "/docker/abcd", []string{"cg"}}, // another group
		{"/docker/abc", "/", []string{"cg"}},
		{"/", "/../x", []string{"cg"}}, // above a namespace's root
		{"/", "/a/../../x", []string{"cg/x", "cg"}},
	} {
		require.Equal(t, c.want, mount{root: c.root, point: "/cg"}.levels(c.group), c)
	}
}

func FuzzLimit(f *testing.F) {
	for _, s := range []string{"max\n", "-1", "0", "50000 100000", "max 100000", "1 0", "18446744073709551616", "0x10", "+5", " 7 \n", ""} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		n, ok := parseLimit(text)
		if s := strings.TrimSpace(string(text)); ok && n != Unlimited && strings.Trim(s, "0123456789") != "" {
			t.Fatalf("%q is %d", text, n)
		}
		parseCPUMax(text)
		parseStatm(text)
		parseTasks(text)
	})
}

func FuzzField(f *testing.F) {
	f.Add([]byte("MemFree: 5 kB\nMemAvailable:  123 kB\n"), "MemAvailable:")
	f.Add([]byte("Uid:\t1000\t0\n"), "Uid:")
	f.Add([]byte("a"), "a")
	f.Fuzz(func(t *testing.T, text []byte, name string) {
		if _, ok := field(text, name); ok && !strings.Contains(string(text), name) {
			t.Fatalf("%q has no %q", text, name)
		}
	})
}

func FuzzCgroup(f *testing.F) {
	f.Add("4:cpu,cpuacct:/a/b\n0::/a\n", "30 1 0:26 / /sys/fs/cgroup rw shared:1 - cgroup2 cgroup2 rw\n31 1 0:27 /a /c\\040d rw - cgroup cgroup rw,cpu\n")
	f.Add("0::/../../x\n", "30 1 0:26 /.. /.. rw - cgroup2 cgroup2 rw\n")
	f.Fuzz(func(t *testing.T, own, mounts string) {
		all := parseMounts([]byte(mounts))
		for _, in := range parseCgroup([]byte(own)) {
			m, ok := mountOf(all, in, "cpu")
			if !ok {
				continue
			}
			point := strings.TrimPrefix(path.Clean(m.point), "/")
			for _, folder := range m.levels(in.path) {
				if point != "" && folder != point && !strings.HasPrefix(folder, point+"/") {
					t.Fatalf("%q is not below %q", folder, point)
				}
			}
		}
	})
}

package limits

import (
	"bytes"
	"path"
	"slices"
	"strconv"
	"strings"
)

// group is one control group at one level of a hierarchy.
type group struct {
	folder string // where its files are, without the leading slash
	v1     bool
}

// groups are the control groups that limit this process with a controller: its own and
// all above it, in each hierarchy that may have the controller. Some folders may not
// exist.
func (s system) groups(controller string) []group {
	own, ok := s.read("proc/self/cgroup")
	if !ok {
		return nil
	}
	mounts, _ := s.read("proc/self/mountinfo")
	all := parseMounts(mounts)
	var groups []group
	for _, in := range parseCgroup(own) {
		v1 := in.controllers != nil
		if v1 && !slices.Contains(in.controllers, controller) {
			continue
		}
		m, ok := mountOf(all, in, controller)
		if !ok {
			continue
		}
		for _, folder := range m.levels(in.path) {
			groups = append(groups, group{folder, v1})
		}
	}
	return groups
}

// membership is a line of /proc/self/cgroup: where in a hierarchy the process is.
type membership struct {
	controllers []string // nil: version 2
	path        string
}

// parseCgroup parses /proc/self/cgroup: "4:cpu,cpuacct:/a/b", or "0::/a/b" for version
// 2. Other lines are ignored.
func parseCgroup(text []byte) []membership {
	var all []membership
	for line := range bytes.Lines(text) {
		parts := strings.SplitN(strings.TrimSuffix(string(line), "\n"), ":", 3)
		if len(parts) != 3 || !strings.HasPrefix(parts[2], "/") {
			continue
		}
		m := membership{path: parts[2]}
		if parts[1] != "" {
			m.controllers = strings.Split(parts[1], ",")
		} else if parts[0] != "0" {
			continue
		}
		all = append(all, m)
	}
	return all
}

// mount is a hierarchy that is mounted: the part of it below root is at point.
type mount struct {
	root, point string
	v1          bool
	options     []string // with the controllers of version 1
}

// parseMounts reads the hierarchies of /proc/self/mountinfo (proc(5)):
// "36 35 0:28 ROOT POINT OPTIONS [MORE…] - TYPE SOURCE SUPEROPTIONS".
func parseMounts(text []byte) []mount {
	var all []mount
	for line := range bytes.Lines(text) {
		words := strings.Fields(string(line))
		dash := slices.Index(words, "-")
		if dash < 6 || dash+3 >= len(words) {
			continue
		}
		kind := words[dash+1]
		if kind != "cgroup" && kind != "cgroup2" {
			continue
		}
		m := mount{unescape(words[3]), unescape(words[4]), kind == "cgroup", strings.Split(words[dash+3], ",")}
		if strings.HasPrefix(m.root, "/") && strings.HasPrefix(m.point, "/") {
			all = append(all, m)
		}
	}
	return all
}

// unescape decodes the kernel's octal escapes, such as \040 for a space.
func unescape(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+3 < len(s) {
			if c, err := strconv.ParseUint(s[i+1:i+4], 8, 8); err == nil {
				b.WriteByte(byte(c))
				i += 3
				continue
			}
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

// mountOf is the mount of a membership's hierarchy. If there are several, it is the one
// that contains the process's own group.
func mountOf(all []mount, in membership, controller string) (found mount, ok bool) {
	for _, m := range all {
		if m.v1 != (in.controllers != nil) || m.v1 && !slices.Contains(m.options, controller) {
			continue
		}
		if _, shown := m.below(in.path); shown {
			return m, true
		}
		if !ok {
			found, ok = m, true
		}
	}
	return found, ok
}

// below is a group's path in a mount; false if the mount doesn't contain it.
func (m mount) below(group string) (string, bool) {
	if strings.HasPrefix(group, "/..") { // above the namespace's own root
		return "", false
	}
	group = path.Clean(group)
	root := path.Clean(m.root)
	if root == "/" {
		return group, true
	}
	rest, ok := strings.CutPrefix(group, root)
	return rest, ok && (rest == "" || rest[0] == '/')
}

// levels are the folders of a group and all above it, its own first. If a mount doesn't
// contain the group, as in containers that see the host's paths, the mount's root is
// the container's group.
func (m mount) levels(group string) []string {
	point := strings.TrimPrefix(path.Clean(m.point), "/")
	rest, ok := m.below(group)
	if !ok {
		return []string{point}
	}
	var all []string
	for rest = path.Clean("/" + rest); rest != "/"; rest = path.Dir(rest) {
		all = append(all, path.Join(point, rest))
	}
	return append(all, point)
}

package architecture

import (
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// A cost is what a family, or a kind of model of one, takes of the repository: files of
// its own, and lines of those that it shares, such as an entry of a table.
type cost struct {
	family string
	code   *regexp.Regexp // what only its code says
	own    []string       // patterns of files
	shared map[string]int // file → the most lines
}

var costs = []cost{
	{
		family: "diffusion transformers (DiT)", code: regexp.MustCompile(`\bDiT|\bdit|inTransformer\b|inVQ`),
		own: []string{"csrc/nets/dit.cpp", "convert/family/dit.go", "convert/family/network_dit.go", "convert/family/pixel*.go", "sd/family/pixel/*.go"},
		shared: map[string]int{
			"convert/family/table.go": 1, "csrc/nets/architecture.cpp": 1, "csrc/nets/architecture.h": 1, "sd/model.go": 1,
			"convert/convert.go":      2, // their names for other packages
			"sd/fullsize/fullsize.go": 3, // to measure
			"sampler/guiders.go":      1, // how its own code guides
		},
	},
	{
		family: "consistency models", code: regexp.MustCompile(`Consistency|"consistency"`),
		own: []string{"sampler/solver_consistency.go", "convert/family/pixel*.go", "sd/family/pixel/*.go"},
		shared: map[string]int{
			"sampler/samplers.go": 3, "sampler/schedules.go": 1, "sampler/schedule_karras.go": 1, "sampler/process.go": 1, "sampler/process_prediction.go": 3,
			"convert/convert.go": 1,
		},
	},
	{
		family: "EDM2", code: regexp.MustCompile(`EDM2|edm2`),
		own:    []string{"csrc/nets/edm2.cpp", "convert/layout/edm2.go", "convert/family/network_edm2.go", "convert/family/pixel*.go", "sd/family/pixel/*.go"},
		shared: map[string]int{"csrc/nets/architecture.cpp": 1, "csrc/nets/architecture.h": 1},
	},
	{
		family: "models that enlarge by text (the x4 upscaler)", code: regexp.MustCompile(`= upscales|case upscales|upscales:|upscales = |\blowSchedule|LowAlphas|[iI]nLowScheduler|keyLow|onlyCross\(|low_scale_model|NoiseLevel\(q\)`),
		own: []string{"convert/family/upscaler.go", "sd/family/ldm/upscale.go"},
		// It is a variant of Stable Diffusion 2, as models for inpainting and editing are.
		shared: map[string]int{
			"convert/family/configs.go": 2, "convert/family/keys.go": 1, "convert/family/parts.go": 1, "convert/family/sd2.go": 1, "convert/family/stable_diffusion.go": 6,
			"convert/family/stable_diffusion_files.go": 1, "convert/layout/canonical.go": 2,
			"sd/family/ldm/ldm.go": 1, "sd/family/ldm/variants.go": 2, "sd/family/stablediffusion/stablediffusion.go": 1,
		},
	},
}

// comment is one in Go or C++, to the end of its line.
var comment = regexp.MustCompile(`(^|\s)//.*`)

// A family costs its own files and a line each in some tables: nothing else of the
// repository says its name.
func TestFamiliesCostTheirOwnFiles(t *testing.T) {
	root := filepath.Join("..", "..")
	found := make([]map[string]int, len(costs))
	for i := range found {
		found[i] = map[string]int{}
	}
	for _, folder := range []string{"cgo", "cli", "convert", "csrc", "job", "sampler", "sd"} {
		err := filepath.WalkDir(filepath.Join(root, folder), func(file string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() || !slices.Contains([]string{".go", ".cpp", ".h"}, path.Ext(file)) || strings.HasSuffix(file, "_test.go") {
				return err
			}
			text, err := os.ReadFile(file)
			if err != nil {
				return err
			}
			name, err := filepath.Rel(root, file)
			for line := range strings.Lines(string(text)) {
				line = comment.ReplaceAllString(line, "")
				for i, c := range costs {
					if c.code.MatchString(line) {
						found[i][filepath.ToSlash(name)]++
					}
				}
			}
			return err
		})
		require.NoError(t, err)
	}
	for i, c := range costs {
		require.NotEmpty(t, found[i])
		for _, file := range slices.Sorted(maps.Keys(found[i])) {
			isOwn := slices.ContainsFunc(c.own, func(pattern string) bool {
				ok, err := path.Match(pattern, file)
				require.NoError(t, err)
				return ok
			})
			if !isOwn {
				require.LessOrEqual(t, found[i][file], c.shared[file], "%s: lines of %s that only %s are about", c.family, file, c.family)
			}
		}
		for file, lines := range c.shared {
			require.Equal(t, lines, found[i][file], "%s: fewer lines of %s than the table says", c.family, file)
		}
	}
}

package layout

import (
	"fmt"
	"regexp"
	"strings"

	"github.com/sdgo/sdgo/convert/model"
)

// Module is a piece of a network under both of its names, without a dot at the
// end.
type Module struct {
	Diffusers, LDM string            // in the diffusers library, and in the original (latent diffusion's) code
	Inner          map[string]string // names within it: the library's to the original's
}

// oldNames are those that the diffusers library had before version 0.15.
var oldNames = map[string]bool{"query": true, "key": true, "value": true, "proj_attn": true}

// Renamer renames tensors by the longest module that their name begins with, and
// puts a prefix before the original name.
func Renamer(prefix string, modules []Module) Rename {
	byName := make(map[string]Module, len(modules))
	for _, m := range modules {
		byName[m.Diffusers] = m
	}
	return func(name string) (string, bool) {
		to, ok := translate(byName, name)
		return prefix + to, ok
	}
}

// Inverse renames tensors of the original layout to the diffusers library's
// names. Where the library has had two names for one thing, the newer is taken.
func Inverse(modules []Module) Rename {
	byName := make(map[string]Module, len(modules))
	for _, m := range modules {
		back := make(map[string]string, len(m.Inner))
		for diffusersName, ldmName := range m.Inner {
			if !oldNames[diffusersName] {
				back[ldmName] = diffusersName
			}
		}
		byName[m.LDM] = Module{m.LDM, m.Diffusers, back}
	}
	return func(name string) (string, bool) { return translate(byName, name) }
}

// translate renames what begins with a module's first name to its second.
func translate(byName map[string]Module, name string) (string, bool) {
	for cut := strings.LastIndexByte(name, '.'); cut > 0; cut = strings.LastIndexByte(name[:cut], '.') {
		m, ok := byName[name[:cut]]
		if !ok {
			continue
		}
		rest := name[cut+1:]
		if leaf := strings.LastIndexByte(rest, '.'); leaf > 0 {
			if to, ok := m.Inner[rest[:leaf]]; ok {
				rest = to + rest[leaf:]
			}
		}
		return m.LDM + "." + rest, true
	}
	return "", false
}

var stagePattern = regexp.MustCompile(`^(?:encoder\.|decoder\.)?(down|up)_blocks\.(\d+)\.(resnets|attentions)\.(\d+)\.`)

// attentionPattern finds the modules with queries.
var attentionPattern = regexp.MustCompile(`^((?:down_blocks|up_blocks|mid_block)\.[a-z0-9._]+)\.to_q\.weight$`)

// downBlock are the level and the number of the residual block that a tensor is of, in the diffusers library's names of the
// way down.
func downBlock(name string) (level, block int, ok bool) {
	m := stagePattern.FindStringSubmatch(name)
	if m == nil || m[1] != "down" || m[3] != "resnets" || len(m[2]) > 2 || len(m[4]) > 2 {
		return 0, 0, false
	}
	fmt.Sscan(m[2], &level)
	fmt.Sscan(m[4], &block)
	return level, block, true
}

// Stages counts, from the names that tensors have in the diffusers library, the
// levels of one direction, "down" or "up", the residual blocks of a level, and
// says which levels have attention.
func Stages(all []model.Stored, direction string) (levels, blocks int, attention map[int]bool) {
	attention = map[int]bool{}
	for _, t := range all {
		m := stagePattern.FindStringSubmatch(t.Name)
		if m == nil || m[1] != direction || len(m[2]) > 2 || len(m[4]) > 2 {
			continue
		}
		var level, block int
		fmt.Sscan(m[2], &level)
		fmt.Sscan(m[4], &block)
		levels, blocks = max(levels, level+1), max(blocks, block+1)
		if m[3] == "attentions" {
			attention[level] = true
		}
	}
	return levels, blocks, attention
}

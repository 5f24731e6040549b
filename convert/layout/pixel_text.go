package layout

import "github.com/sdgo/sdgo/convert/model"

// deepFloydLayers are layers of DeepFloyd IF's UNets that others on pixels do not have: deep-floyd/IF's names, and
// the diffusers library's.
var deepFloydLayers = map[string]string{
	"encoder_proj": "encoder_hid_proj", "aug_proj.0": "class_embedding.linear_1", "aug_proj.2": "class_embedding.linear_2",
	"encoder_pooling.0": "add_embedding.norm1", "encoder_pooling.2": "add_embedding.proj", "encoder_pooling.3": "add_embedding.norm2",
	"encoder_pooling.1.positional_embedding": "add_embedding.pool.positional_embedding",
	"encoder_pooling.1.q_proj":               "add_embedding.pool.q_proj", "encoder_pooling.1.k_proj": "add_embedding.pool.k_proj",
	"encoder_pooling.1.v_proj": "add_embedding.pool.v_proj",
}

// DeepFloyd gives the tensors of DeepFloyd IF's UNets in the diffusers library's layout their authors' names, and puts
// layers together. Their levels differ in their numbers of blocks, and some attentions have queries alone, for they
// see the text and not the picture.
func DeepFloyd(all []model.Stored) ([]model.Stored, error) {
	s := diffusersStages(all)
	s.PerLevel = make([]int, s.Levels)
	have := make(map[string]bool, len(all))
	for _, t := range all {
		have[t.Name] = true
		if level, block, ok := downBlock(t.Name); ok && level < s.Levels {
			s.PerLevel[level] = max(s.PerLevel[level], block+1)
		}
	}
	p := diffusersPixel(s.Levels)
	delete(p.others, "label_emb")
	for name, theirs := range deepFloydLayers {
		p.others[name] = theirs
	}
	p.attention["norm_encoder"], p.kv = "norm_cross", []string{"add_k_proj", "add_v_proj"}
	p.halveConv, p.enlargeConv = nil, nil
	p.queries = map[string]bool{}
	for name := range have {
		if m := attentionPattern.FindStringSubmatch(name); m != nil && !have[m[1]+".to_k.weight"] {
			p.queries[m[1]] = true
		}
	}
	return Fuse(all, p.table(s))
}

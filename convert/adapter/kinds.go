package adapter

import "slices"

// Kind is a kind of change.
type Kind struct {
	Name string

	// Roles are the factors that it needs; May those that it may have.
	Roles, May []string

	// rank is the rank of the factors; nil for kinds without.
	rank func(m Module) int

	// check checks the shapes of the factors against the weight's.
	check func(c Change) error

	// lowRank is for kinds that can run beside the weight.
	lowRank func(c Change) LowRank

	// delta is what is added to the weight at strength 1, which is proportional to the
	// strength; base is the weight.
	delta func(c Change, base []float32) ([]float32, error)

	// turn changes the weight itself, for kinds that are not sums. They come after those
	// that are.
	turn func(c Change, weight []float32, strength float64) error
}

// kinds are all kinds. The first one whose roles a module has is its kind.
var kinds = []*Kind{&lora, &loha, &lokr, &glora, &boft, &oft, &full, &norm, &ia3}

// Roles that modules of several kinds have.
const (
	alpha = "alpha"
	dora  = "dora_scale" // of the norms of the weight's rows or columns

	// PEFT's norms are of rows, whatever their shape is.
	magnitude = "lora_magnitude_vector"
)

// leaves are the ends of tensors' names, with the role that the tensor has in its module.
// Longer ones come first.
var leaves = []struct{ end, role string }{
	// kohya, LyCORIS
	{".lora_up.weight", "up"}, {".lora_down.weight", "down"}, {".lora_mid.weight", "mid"},
	{".hada_w1_a", "hada_w1_a"}, {".hada_w1_b", "hada_w1_b"}, {".hada_w2_a", "hada_w2_a"}, {".hada_w2_b", "hada_w2_b"},
	{".hada_t1", "hada_t1"}, {".hada_t2", "hada_t2"},
	{".lokr_w1_a", "lokr_w1_a"}, {".lokr_w1_b", "lokr_w1_b"}, {".lokr_w2_a", "lokr_w2_a"}, {".lokr_w2_b", "lokr_w2_b"},
	{".lokr_w1", "lokr_w1"}, {".lokr_w2", "lokr_w2"}, {".lokr_t2", "lokr_t2"},
	{".a1.weight", "a1"}, {".a2.weight", "a2"}, {".b1.weight", "b1"}, {".b2.weight", "b2"},
	{".oft_blocks", "oft_blocks"}, {".oft_diag", "oft_blocks"}, {".rescale", "rescale"},
	{".diff", "diff"}, {".diff_b", "diff_b"}, {".w_norm", "w_norm"}, {".b_norm", "b_norm"},
	{".on_input", "on_input"}, {".alpha", alpha}, {".dora_scale", dora},
	// PEFT, diffusers
	{".lora_A.weight", "down"}, {".lora_B.weight", "up"},
	{".lora_A.default.weight", "down"}, {".lora_B.default.weight", "up"},
	{".lora_magnitude_vector.default.weight", magnitude}, {".lora_magnitude_vector.weight", magnitude}, {".lora_magnitude_vector", magnitude},
	{".lora_linear_layer.down.weight", "down"}, {".lora_linear_layer.up.weight", "up"},
	{".lora.down.weight", "down"}, {".lora.up.weight", "up"},
	{"_lora.down.weight", "down"}, {"_lora.up.weight", "up"},
	// cloneofsimo
	{":down", "down"}, {":up", "up"},
}

// unused are the ends of names of tensors that change nothing.
var unused = []string{".bias_indices", ".bias_values", ".bias_size", ".scalar", ".text_model.embeddings.position_ids"}

// kindOf finds the kind of a module by the roles of its tensors. missing is a role that
// the kind which comes nearest lacks.
func kindOf(has func(role string) bool) (k *Kind, missing string) {
	for _, k := range kinds {
		absent := slices.IndexFunc(k.Roles, func(r string) bool { return !has(r) })
		if absent < 0 {
			return k, ""
		}
		if missing == "" && slices.ContainsFunc(append(k.Roles, k.May...), func(r string) bool { return r != alpha && r != dora && has(r) }) {
			missing = k.Roles[absent]
		}
	}
	return nil, missing
}

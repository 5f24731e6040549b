package family

// Configurations of text encoders beside a transformer.
const (
	inFirstText  place = "text_encoder/config.json"
	inSecondText place = "text_encoder_2/config.json"
	inThirdText  place = "text_encoder_3/config.json"
)

// expected fails for fields that are there with other values than these.
func expected(c *config, fields []mark) []string {
	for _, m := range fields {
		if value, there := c.fields[m.name]; there && !m.allows(value) {
			c.fail(m.name, "must be %s: %s", m.allowed(), m.why)
		}
	}
	return nil
}

// clipFile checks the configuration of one of CLIP's text encoders beside a transformer: what no shape tells is the same in all that are
// published.
func clipFile(activation string) func(c *config) []string {
	return func(c *config) []string {
		if width, ok := c.number("hidden_size", 1, 1<<14); ok {
			if heads, has := c.number("num_attention_heads", 1, 1<<10); has && int(heads) != max(1, int(width)/64) {
				c.fail("num_attention_heads", "must be a 64th of hidden_size, as in all models of CLIP's")
			}
		}
		return expected(c, []mark{
			{name: "hidden_act", values: []any{activation}, why: "the text encoder in this place has this activation"},
			{name: "layer_norm_eps", values: []any{1e-5}, why: "all published models have this"},
		})
	}
}

// t5File checks the configuration of T5's encoder.
func t5File(c *config) []string {
	return expected(c, []mark{
		{name: "feed_forward_proj", values: []any{"gated-gelu"}, why: "T5 of version 1.1 has this"},
		{name: "layer_norm_epsilon", values: []any{1e-6}, why: "all published models have this"},
		{name: "relative_attention_num_buckets", values: []any{float64(t5Buckets)}, why: "all published models have this"},
		{name: "relative_attention_max_distance", values: []any{128.0}, why: "all published models have this"},
	})
}

// fluxMarks are the fields that FluxTransformer2DModel and ChromaTransformer2DModel read.
var fluxMarks = []mark{
	{in: inDenoiserFolder, name: "patch_size", verdict: only, values: []any{1.0}, why: "tokens are packed before they reach the network"},
	{in: inDenoiserFolder, name: "in_channels", verdict: shaped},
	{in: inDenoiserFolder, name: "out_channels", verdict: shaped},
	{in: inDenoiserFolder, name: "num_layers", verdict: shaped},
	{in: inDenoiserFolder, name: "num_single_layers", verdict: shaped},
	{in: inDenoiserFolder, name: "attention_head_dim", verdict: shaped},
	{in: inDenoiserFolder, name: "num_attention_heads", verdict: shaped},
	{in: inDenoiserFolder, name: "joint_attention_dim", verdict: shaped},
	{in: inDenoiserFolder, name: "pooled_projection_dim", verdict: shaped},
	{in: inDenoiserFolder, name: "guidance_embeds", verdict: shaped},
	{in: inDenoiserFolder, name: "axes_dims_rope", verdict: followed}, // axes
	{in: inDenoiserFolder, name: "approximator_num_channels", verdict: shaped},
	{in: inDenoiserFolder, name: "approximator_hidden_dim", verdict: shaped},
	{in: inDenoiserFolder, name: "approximator_layers", verdict: shaped},
}

// axes checks the widths that rotary embeddings turn: of all models of these families an eighth of a head and twice 7/16.
func axes(c *config) {
	if d, ok := c.numbers("axes_dims_rope"); ok && (len(d) != 3 || d[1] != d[2] || 2*d[1] != 7*d[0]) {
		c.fail("axes_dims_rope", "must be an eighth of a head and twice 7/16 of it")
	}
}

// mmditMarks are the fields that SD3Transformer2DModel reads.
var mmditMarks = []mark{
	{in: inDenoiserFolder, name: "sample_size", verdict: harmless, why: "of training"},
	{in: inDenoiserFolder, name: "patch_size", verdict: shaped},
	{in: inDenoiserFolder, name: "in_channels", verdict: shaped},
	{in: inDenoiserFolder, name: "out_channels", verdict: shaped},
	{in: inDenoiserFolder, name: "num_layers", verdict: shaped},
	{in: inDenoiserFolder, name: "attention_head_dim", verdict: shaped}, // with num_attention_heads
	{in: inDenoiserFolder, name: "num_attention_heads", verdict: followed},
	{in: inDenoiserFolder, name: "joint_attention_dim", verdict: shaped},
	{in: inDenoiserFolder, name: "caption_projection_dim", verdict: shaped},
	{in: inDenoiserFolder, name: "pooled_projection_dim", verdict: shaped},
	{in: inDenoiserFolder, name: "pos_embed_max_size", verdict: shaped},
	{in: inDenoiserFolder, name: "dual_attention_layers", verdict: shaped},
	{in: inDenoiserFolder, name: "qk_norm", verdict: only, values: []any{nil, "rms_norm"}, why: "queries and keys have these norms or none"},
}

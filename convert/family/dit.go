package family

import (
	"fmt"
	"math"
	"regexp"

	"github.com/sdgo/sdgo/convert/dtype"
	"github.com/sdgo/sdgo/convert/layout"
	"github.com/sdgo/sdgo/convert/model"
)

// DiT is the diffusion transformer of Peebles and Xie (2023), conditioned on
// classes.
const DiT = "dit"

var dit = &Family{
	Name: DiT,
	Looks: []Look{
		{"a DiT, which draws from classes", []string{"*blocks.0.adaLN_modulation.1.weight", "*y_embedder.embedding_table.weight"}},
		{"a DiT in the diffusers library's layout", []string{"transformer_blocks.0.norm1.emb.class_embedder.embedding_table.weight"}},
	},
	Runs:       true,
	Fused:      ditLayers,
	Says:       ditSays,
	Settings:   pixelSettings(inTransformer),
	Complete:   completeDiT,
	Read:       readDiT,
	Metadata:   pixelMetadata,
	Role:       Denoiser,
	Slots:      func(Given) Slots { return Slots{Denoiser: model.UNetPrefix, Autoencoder: model.VAEPrefix} },
	Properties: ditProperties,
	Groups:     transformerGroups,
	Precise:    []string{"x_embedder.", "t_embedder.", "y_embedder.", "pos_embed"},
}

func ditProperties(d *Describer) {
	if c, _ := readDiT(&Reader{Model: d.Model.Copy()}).(*Pixel); c != nil { // of which reading sets more
		defer func() {
			d.Property("size", c.Size)
			if c.LearnedVariance {
				d.Say("learned variance")
			}
		}()
	}
	d.Property("blocks", d.Blocks("blocks."))
	d.Property("width", d.Dim("final_layer.linear.weight", 1))
	if n := d.Dim("y_embedder.embedding_table.weight", 0); n > 1 {
		d.Property("classes", n-1) // the last row stands for no class
	}
}

// ditLayers are named as in facebookresearch/DiT, models.py. The diffusers
// library keeps the embedders of time and class in every block, all the same. It
// computes the table of positions, which original files have.
var ditLayers = []layout.Fusion{
	layout.One("x_embedder.proj", "pos_embed.proj"),
	layout.One("t_embedder.mlp.0", "transformer_blocks.0.norm1.emb.timestep_embedder.linear_1"),
	layout.One("t_embedder.mlp.2", "transformer_blocks.0.norm1.emb.timestep_embedder.linear_2"),
	layout.One("y_embedder.embedding_table", "transformer_blocks.0.norm1.emb.class_embedder.embedding_table"),
	layout.One("", "transformer_blocks.#.norm1.emb.timestep_embedder.linear_1"),
	layout.One("", "transformer_blocks.#.norm1.emb.timestep_embedder.linear_2"),
	layout.One("", "transformer_blocks.#.norm1.emb.class_embedder.embedding_table"),
	layout.One("blocks.#.adaLN_modulation.1", "transformer_blocks.#.norm1.linear"),
	{LDM: "blocks.#.attn.qkv", Diffusers: []string{"transformer_blocks.#.attn1.to_q", "transformer_blocks.#.attn1.to_k", "transformer_blocks.#.attn1.to_v"}},
	layout.One("blocks.#.attn.proj", "transformer_blocks.#.attn1.to_out.0"),
	layout.One("blocks.#.mlp.fc1", "transformer_blocks.#.ff.net.0.proj"),
	layout.One("blocks.#.mlp.fc2", "transformer_blocks.#.ff.net.2"),
	layout.One("final_layer.adaLN_modulation.1", "proj_out_1"),
	layout.One("final_layer.linear", "proj_out_2"),
}

// ditSays tells which frequencies of time a layout's program has.
func ditSays(all []model.Stored) map[string]string {
	if !layout.Contains(all, "transformer_blocks.") {
		return nil
	}
	return map[string]string{pixelKey + "time_shift": "1"}
}

// ditPrefix is what the names of the transformer's tensors begin with.
func ditPrefix(m *model.Model) string {
	if m.Index(model.UNetPrefix+"x_embedder.proj.weight") >= 0 {
		return model.UNetPrefix
	}
	return ""
}

const maxDiTSide = 256 // tokens

// completeDiT adds the table of positions, which the diffusers library computes, and
// makes the original one, [1, L, D], a vector, as the network takes it.
func completeDiT(m *model.Model) error {
	name := ditPrefix(m) + "pos_embed"
	if i := m.Index(name); i >= 0 {
		t := &m.Tensors[i]
		if t.Type.Quantized() {
			return fmt.Errorf("tensor %q must not be quantized, got %s", name, t.Type)
		}
		t.Shape = []int64{t.Elements()}
		return nil
	}
	r := &Reader{Model: m}
	width := r.Shape(ditPrefix(m)+"final_layer.linear.weight", 2)[1]
	side := ditSide(r, r.Shape(ditPrefix(m)+"x_embedder.proj.weight", 4)[2])
	if r.err != nil {
		return r.err
	}
	if width%4 != 0 || width > 1<<14 {
		return fmt.Errorf("a DiT of width %d: it must be a multiple of 4", width)
	}
	data := make([]byte, 4*side*side*width)
	if err := dtype.Encode(dtype.F32, data, ditPositions(side, width)); err != nil {
		return err
	}
	m.Add(model.Tensor{Name: name, Type: dtype.F32, Shape: []int64{int64(side * side * width)}, Bytes: data})
	return nil
}

// ditPositions is the table of a side's square of positions: the first half of each row
// tells the column, the second the row, each by sines, then cosines.
func ditPositions(side, width int) []float32 {
	quarter := width / 4
	table := make([]float32, 0, side*side*width)
	for y := range side {
		for x := range side {
			for _, at := range []int{x, y} {
				for _, wave := range []func(float64) float64{math.Sin, math.Cos} {
					for i := range quarter {
						table = append(table, float32(wave(float64(at)*math.Pow(10000, -float64(i)/float64(quarter)))))
					}
				}
			}
		}
	}
	return table
}

// ditSide is the side in tokens that a DiT without a table of positions was trained
// on: that of 256x256 pixels, unless metadata says otherwise.
func ditSide(r *Reader, patch int) int {
	size := 32
	r.Number(pixelKey+"size", 1, largestSide, func(v float64) { size = int(v) })
	if patch < 1 || size%patch != 0 || size/patch > maxDiTSide {
		r.Fail("a DiT of %d pixels in patches of %d: %w", size, patch, model.ErrUnrecognized)
		return 1
	}
	return size / patch
}

func readDiT(r *Reader) any {
	p := ditPrefix(r.Model)
	d := &DiTConfig{}
	c := &Pixel{Name: DiT, Net: "dit", Prefix: p, DiT: d, ClassInput: ClassIndex, LearnedVariance: true,
		Process: Process{Kind: ProcessDDPM, Betas: "linear", BetaStart: 1e-4, BetaEnd: 0.02, Steps: 1000, Prediction: "epsilon", Variance: "learned_range"}}
	first := r.Shape(p+"x_embedder.proj.weight", 4)
	d.Width, d.InChannels, d.Patch = first[0], first[1], first[2]
	d.Blocks = r.Count(p + "blocks.%d.adaLN_modulation.1.weight")
	d.TimeChannels = r.Shape(p+"t_embedder.mlp.0.weight", 2)[1]
	d.Classes = r.Shape(p+"y_embedder.embedding_table.weight", 2)[0]
	last := r.Shape(p+"final_layer.linear.weight", 2)[0]
	if r.err == nil && (d.Patch < 1 || d.Width < 1 || last%(d.Patch*d.Patch) != 0 || d.Classes < 1) {
		r.Fail("a DiT with patches of %d, %d outputs and %d classes: %w", d.Patch, last, d.Classes, model.ErrUnrecognized)
	}
	if r.err != nil {
		return nil
	}
	d.OutChannels = last / (d.Patch * d.Patch)
	d.Heads = max(1, d.Width/64)
	if d.Width == 1152 { // XL
		d.Heads = 16
	}
	side := 1
	if t, ok := r.Model.Tensor(p + "pos_embed"); ok {
		n := t.Elements() / int64(d.Width)
		if n < 1 || n > maxDiTSide*maxDiTSide || n*int64(d.Width) != t.Elements() {
			r.Fail("tensor %q must have the shape [1, L, %d], got %v", p+"pos_embed", d.Width, t.Shape)
			return nil
		}
		for int64(side+1)*int64(side+1) <= n {
			side++
		}
		d.Positions = int(n)
	} else {
		side = ditSide(r, d.Patch)
		d.Positions = side * side
	}
	c.Channels, c.Size, c.Multiple = d.InChannels, side*d.Patch, side*d.Patch
	c.Classes, c.NullClass = d.Classes-1, d.Classes-1
	if d.OutChannels == d.InChannels {
		c.LearnedVariance, c.Process.Variance = false, "fixed_small"
	}
	c.readVAE(r)
	c.apply(r, d.numbers())
	if r.err == nil && (c.Size != side*d.Patch || d.OutChannels != c.outChannels()) {
		r.Fail("a DiT of %d pixels, %d input and %d output channels: %w", c.Size, d.InChannels, d.OutChannels, model.ErrUnrecognized)
	}
	c.finish(r)
	knownPixel(r, p, ditName, model.VAEPrefix)
	return c
}

// ditName is what tensors of a DiT are called.
var ditName = regexp.MustCompile(`^(pos_embed|x_embedder\.proj\.(weight|bias)|t_embedder\.mlp\.[02]\.(weight|bias)|y_embedder\.embedding_table\.weight|` +
	`blocks\.\d+\.(attn\.(qkv|proj)|mlp\.fc[12]|adaLN_modulation\.1)\.(weight|bias)|final_layer\.(linear|adaLN_modulation\.1)\.(weight|bias))$`)

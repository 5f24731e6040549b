package convert

import (
	"context"
	"io"

	"github.com/sdgo/sdgo/convert/adapter"
	"github.com/sdgo/sdgo/convert/safetensors"
)

// Files of changes to a model's weights, and what they consist of.
type (
	// Adapter is an open file of changes to weights: a LoRA or one of its relatives.
	Adapter = adapter.File

	// AdapterChange is the change of one weight of a model.
	AdapterChange = adapter.Change

	// AdapterUse is a change with the strength at which it is used.
	AdapterUse = adapter.Use

	// AdapterInfo is what a file of changes is, and what it says about itself.
	AdapterInfo = adapter.Info

	// AdapterSummary is what a file of changes is, found without reading its numbers.
	AdapterSummary = adapter.Summary

	// AdapterTargets are the layers of a model by all names that files of changes have
	// for them.
	AdapterTargets = adapter.Targets

	// Embedding is a textual inversion: vectors in place of a word's tokens.
	Embedding = adapter.Embedding

	// EmbeddingVectors are those for one text encoder.
	EmbeddingVectors = adapter.Vectors
)

// OpenAdapter opens a file of changes to weights: LoRA, LoCon, LoHa, LoKr, (IA)³, GLoRA,
// OFT, BOFT, DoRA and plain differences, in the layouts of kohya's scripts, LyCORIS, PEFT,
// the diffusers library, ComfyUI and cloneofsimo's lora. Every tensor must be understood,
// finite, and complete with the others of its layer.
func OpenAdapter(path string) (*Adapter, error) { return adapter.Open(path) }

// FaceAdapter are the changes that a FaceID IP-Adapter, which [Open] has read, makes to the attention of
// a UNet. It is an error if the model is none that has some. Closing it leaves the model open.
func FaceAdapter(m *Model) (*Adapter, error) { return adapter.OfFaces(m) }

// LookAtAdapter tells what a file of changes is by the names and shapes of its tensors.
// [OpenAdapter] may still refuse the file for their numbers.
func LookAtAdapter(path string) (AdapterSummary, error) { return adapter.Look(path) }

// OpenEmbedding reads a textual inversion in any of its layouts.
func OpenEmbedding(path string) (*Embedding, error) { return adapter.OpenEmbedding(path) }

// NewAdapterTargets makes the index of a model's layers that [Adapter.Match] needs.
func NewAdapterTargets(m *Model) (*AdapterTargets, error) { return adapter.NewTargets(m) }

// PatchWeight returns a weight with changes, all of that weight, each at its strength.
func PatchWeight(base []float32, uses []AdapterUse) ([]float32, error) {
	return adapter.Patch(base, uses)
}

// AdapterAlias is the name that its trainer gave a file of changes (ss_output_name), of
// which only the header is read; "" if there is none.
func AdapterAlias(path string) string { return adapter.AliasOf(path) }

// BakedAdapter is a file of changes with its strengths, to be made a part of a model.
type BakedAdapter = adapter.Baked

// BakeAdapters makes changes a part of a model's weights, which must not be quantized.
// It is for the code that has opened the model, before anything else uses it. unmatched
// are the layers, as in the files, that the model does not have.
func BakeAdapters(ctx context.Context, m *Model, all []BakedAdapter) (unmatched []string, err error) {
	return adapter.Bake(ctx, m, all)
}

// Extraction says how [ExtractLoRA] makes a LoRA, and ExtractedLoRA is what came out.
type (
	Extraction    = adapter.Extraction
	ExtractedLoRA = adapter.Extracted
)

// MaxRank bounds the rank of a LoRA that is extracted.
const MaxRank = adapter.MaxRank

// ExtractLoRA makes a LoRA of what the model tuned has and base has not, with kohya's
// names: of each linear layer and each convolution the best approximation of the
// difference of a rank. [WriteLoRA] writes it.
func ExtractLoRA(ctx context.Context, base, tuned *Model, o Extraction) (*ExtractedLoRA, error) {
	return adapter.Extract(ctx, base, tuned, o)
}

// WriteLoRA writes what was extracted as a safetensors file.
func WriteLoRA(w io.Writer, x *ExtractedLoRA) error {
	return safetensors.Write(w, x.Metadata, x.Tensors)
}

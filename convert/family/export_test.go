package family

// What tests need of this package.
var (
	FluxLayers        = fluxLayers
	ChromaLayers      = chromaLayers()
	SD3Layers         = sd3Layers
	ControlNetModules = controlNetModules
)

// All are the families of the table.
func All() []*Family { return table }

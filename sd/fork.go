package sd

// Fork returns the open model once more, with attachments of its own: it begins with
// those that the model has, and what is attached to either of them afterwards, requests of
// the other cannot name. Both compute with the same networks, their requests share passes
// and the queue of [Model.Submit], and Close closes both. A fork costs nothing, so that a
// server can have one for each request.
func (m *Model) Fork() *Model {
	if m.host() == nil {
		return &Model{}
	}
	return &Model{pipeline: m.pipeline, queue: m.queue, attached: m.others()} // whose maps are never changed, but replaced
}

// namedAdapter is an adapter under another name.
type namedAdapter struct {
	*Adapter
	name string
}

func (n namedAdapter) Name() string { return n.name }

// NamedAdapter is an adapter that requests and prompts know by another name than its own
// ([Model.Attach]). The parameters of pictures have its own.
func NamedAdapter(name string, a *Adapter) Attachment { return namedAdapter{a, name} }

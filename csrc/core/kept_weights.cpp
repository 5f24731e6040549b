#include "core/kept_weights.h"

namespace sdgo {

// A piece in the form that is needed; null if there is none.
const KeptWeights::Piece *KeptWeights::find(const Need &need) const {
    const auto found = pieces_.find(need.weight);
    return found != pieces_.end() && found->second->form == need.keep.form ? found->second.get() : nullptr;
}

uint64_t KeptWeights::missing(const Need &need) const {
    return need.keep.form == kernels::Form::none || find(need) ? 0 : need.keep.bytes;
}

void KeptWeights::lend(const Need &need, kernels::Matrix &m) {
    if (need.keep.form == kernels::Form::none) {
        return;
    }
    if (const Piece *piece = find(need)) {
        m.kept = piece->memory.data();
        m.pack = !piece->filled;
        return;
    }
    if (need.keep.bytes > allowed_) {
        return;
    }
    auto piece = std::make_unique<Piece>();
    piece->form = need.keep.form;
    if (!piece->memory.reserve(need.keep.bytes)) {
        return;
    }
    m.kept = piece->memory.data();
    m.pack = true;
    allowed_ -= need.keep.bytes;
    size_ += piece->memory.size();
    auto &place = pieces_[need.weight];
    size_ -= place ? place->memory.size() : 0; // of another form: for images of another size
    place = std::move(piece);
}

void KeptWeights::finish(const Need &need, bool whole) {
    const auto found = pieces_.find(need.weight);
    if (found == pieces_.end() || found->second->form != need.keep.form) {
        return;
    }
    if (whole) {
        if (!found->second->filled) {
            give_back(need.weight);
        }
        found->second->filled = true;
    } else if (!found->second->filled) {
        size_ -= found->second->memory.size();
        pieces_.erase(found);
    }
}

void KeptWeights::give_back(const void *weight) const {
    if (const auto found = mapped_.find(weight); found != mapped_.end()) {
        kernels::give_back_pages(found->second.data, found->second.size);
    }
}

void KeptWeights::clear() {
    pieces_.clear();
    size_ = allowed_ = 0;
}

} // namespace sdgo

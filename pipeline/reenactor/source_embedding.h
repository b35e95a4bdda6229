// Who is shown, as the denoiser is told: a picture, texts or both become the global embedding G
// and, for networks with source tokens, the source's clean latent.
//
//   picture                G = E(picture)
//   text                   G = E(text)
//   picture and text       G = (1 - a) E(picture) + a E(text)
//   picture, edit from-to  G = E(picture) + a (E(to) - E(from))
//
// E is CLIP's projected embedding at unit length, G is brought to unit length again, and a is
// SourceRequest::edit_strength. The paper (section 4.4) says no more than that embeddings of image
// and text are combined. The latent stays the picture's: networks with source tokens learn to
// follow G where the two disagree (SditTrainingOptions::changed_source).
//
// Thread-safe: networks are only read.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "pipeline/engine/bundle.h"
#include "pipeline/image.h"
#include "pipeline/types.h"
#include "torch/torch.h"

namespace reenact {

struct SourceIdentity {
  torch::Tensor G;                      // [identity_width], IdentityInput()
  std::optional<torch::Tensor> latent;  // [C, h, w], scaled; only of a picture for source tokens
  std::vector<std::string> notes;       // for JobSummary::notes
};

// `crop`: the picture around the face, of the model's size; empty: `source` is texts alone.
// kInvalidArgument: nothing to show, or an edit of nothing. kInternal, kResourceExhausted: as
// CatchErrors.
absl::StatusOr<SourceIdentity> EmbedIdentity(const Bundle& bundle, const SourceRequest& source,
                                             const Image& crop);

// 8-bit RGB to [3, H, W] in [-1, 1].
torch::Tensor ImageToTensor(const Image& image);

}  // namespace reenact

// The paper's Table 2: how well embeddings tell videos apart.
#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "eval/evaluation.h"
#include "eval/held_out_clip.h"
#include "eval/networks.h"

namespace reenact {

struct Separation {
  std::string name;
  double davies_bouldin = 0;     // lower is better
  double calinski_harabasz = 0;  // higher is better
};

// Of the frames of `held_out.num_people` videos, `num_frames` each, labelled by video, in the crop
// that networks see: CLIP's image tower, face signatures (what the service tells people apart by),
// the autoencoder's latents, and raw pixels of the picture as CLIP sees it.
absl::StatusOr<std::vector<Separation>> MeasureSeparation(const EvalNetworks& networks,
                                                          const HeldOutOptions& held_out,
                                                          int threads,
                                                          const ReportProgress& report);

}  // namespace reenact

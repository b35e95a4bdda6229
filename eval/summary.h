// From what was measured of clips to the numbers of the table. Pure functions, thread-safe.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "absl/types/span.h"
#include "eval/clip_measures.h"

namespace reenact {

// One number of the table. In order, the keys are the same for every set of clips.
struct Metric {
  std::string key;    // for the CSV file
  std::string title;  // with its unit
  int digits = 2;     // behind the point
  std::string goal;   // what is asked of it; empty: nothing
  std::optional<double> value;
};

// Of clips that were generated in one way. Values are means over the frames (LMSE, errors, PSNR,
// colours) or over the clips (CSIM and what else a clip has one of); correlations are over all
// frames of all clips, or of the deviations from each clip's means if the truth is not `aligned`.
std::vector<Metric> Summarise(absl::Span<const ClipMeasures> clips, bool aligned);

}  // namespace reenact

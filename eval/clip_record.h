// All that an evaluation keeps of one clip, also as a line of a Journal: numbers come back to the
// bit.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "eval/clip_measures.h"
#include "eval/embedding_metrics.h"
#include "pipeline/image.h"

namespace reenact {

// A clip made in one way.
struct ClipOutcome {
  std::optional<ClipMeasures> measures;  // none: it could not be made
  std::string failure;                   // why
  Image sample;                          // of a few clips: a picture to look at; else empty
};

struct ClipRecord {
  int index = 0;
  std::vector<ClipOutcome> outcomes;   // of every Variant, in their order
  std::vector<Embedding> true_frames;  // EvaluationResult::true_frames of this clip
};

// One line of JSON. kInvalidArgument: a sample that cannot be encoded.
absl::StatusOr<std::string> ToLine(const ClipRecord& record);

// kInvalidArgument: not such a line.
absl::StatusOr<ClipRecord> ClipRecordFromLine(absl::string_view line);

}  // namespace reenact

#include "pipeline/face/motion_options.h"

#include "absl/strings/str_cat.h"

namespace reenact {

absl::Status CheckMotionOptions(const MotionOptions& options) {
  struct Field {
    const char* name;
    double value, max;
  };
  for (const Field& field :
       {Field{"strength", options.strength, 1.5}, Field{"pose", options.pose, 2},
        Field{"mouth", options.mouth, 2}, Field{"eyes", options.eyes, 2},
        Field{"gaze", options.gaze, 2}, Field{"source_expression", options.source_expression, 1}}) {
    if (field.value >= 0 && field.value <= field.max) continue;  // NaN fails
    return absl::InvalidArgumentError(
        absl::StrCat("motion.", field.name, " must be 0..", field.max, ", is ", field.value));
  }
  if (options.mode != MotionMode::kRelative && options.mode != MotionMode::kAbsolute) {
    return absl::InvalidArgumentError(absl::StrCat("motion.mode must be relative or absolute, is ",
                                                   static_cast<int>(options.mode)));
  }
  return absl::OkStatus();
}

}  // namespace reenact

// How a clip is made and what of it can be compared (paper, section 4.3).
#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "pipeline/face/motion_options.h"
#include "pipeline/types.h"

namespace reenact {

enum class Protocol {
  // A person's portrait driven by another clip of the same person, landmarks as they are. The truth
  // is the driving clip.
  kSame,
  // The next person drives, landmarks as they are (the paper). The truth is the source's person in
  // the driver's poses.
  kCross,
  // The same with the service's default for strangers, motion relative to the face at rest: it
  // keeps the source's proportions and place, so pictures have no exact truth.
  kCrossRelative,
};

struct ProtocolTraits {
  const char* name;
  bool cross;    // another person drives
  bool aligned;  // MeasureOptions::aligned
  MotionMode motion;
};
const ProtocolTraits& TraitsOf(Protocol protocol);

// "same", "cross", "cross-relative". kInvalidArgument names the word and what there is.
absl::StatusOr<std::vector<Protocol>> ParseProtocols(const std::string& names);

// What holds a long clip together.
struct Way {
  std::string name;  // as it was written
  LongVideoMethod method = LongVideoMethod::kAnchored;
  SequencePlan plan = SequencePlan::kCentralRandom;
};

// "anchored", "multidiffusion", "overlapped", "independent", joined by commas; "anchored:PLAN" for
// another plan than `plan`. kInvalidArgument as above.
absl::StatusOr<std::vector<Way>> ParseWays(const std::string& names, SequencePlan plan);

// "central-random", "central-interleaved", "contiguous", "balanced".
absl::StatusOr<SequencePlan> ParsePlan(const std::string& name);

}  // namespace reenact

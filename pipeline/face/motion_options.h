// How a driver's motion is put on a source's face.
#pragma once

#include "absl/status/status.h"

namespace reenact {

enum class MotionMode {
  // The driver's head movement and expression, relative to his own face at rest, on the source's
  // face: its proportions, its place and its size in the crop stay the source's.
  kRelative,
  // The driver's landmarks as they are (the paper): the output takes the shape of his face.
  kAbsolute,
};

// Every scale works on its own: 0 leaves that part as it is in the source's picture, 1 takes it
// from the driver, above 1 exaggerates, below 0 is not possible. In kAbsolute the driver's own face
// at rest is what 0 leaves, and with every scale at 1 his landmarks pass unchanged.
struct MotionOptions {
  MotionMode mode = MotionMode::kRelative;
  // Multiplies the four below. 0..1.5.
  double strength = 1;
  // Turning, moving and coming nearer. 0..2.
  double pose = 1;
  // Lips, jaw and lower cheeks. 0..2.
  double mouth = 1;
  // Lids, brows and forehead. 0..2.
  double eyes = 1;
  // Where the irises are in the eyes. 0..2.
  double gaze = 1;
  // How much of the source picture's own open mouth, smile and closed eyes stays beneath the
  // driver's expression. 0: none, a mouth the driver closes is closed; 1: all, a smile stays a
  // smile. 0..1. Without effect in kAbsolute.
  double source_expression = 0;
};

// kInvalidArgument naming the field, its value and its range.
absl::Status CheckMotionOptions(const MotionOptions& options);

}  // namespace reenact

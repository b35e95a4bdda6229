// How the colours of a generated picture differ from those of the picture it goes into, robustly
// and steadily over time.
//
// The model is one gain and one offset per channel, which is what exposure, white balance and the
// slight drift of an autoencoder do. Levels are 0..255. Pure functions and plain data.
#pragma once

#include <array>
#include <vector>

#include "absl/types/span.h"

namespace reenact {

// channel' = gain * channel + offset. The default changes nothing.
struct ColourTransfer {
  std::array<double, 3> gain = {1, 1, 1};
  std::array<double, 3> offset = {0, 0, 0};
};

// Two colours that should be the same.
struct ColourPair {
  std::array<float, 3> generated, original;
  float weight = 1;
};

// Brings mean and spread of the generated colours to those of the original ones. Pairs that do not
// show the same thing (hair that moved) are left out by their own residuals. Gains are kept within
// 0.6..1.6 and pulled to 1 where there is little spread to measure them by. A channel with fewer
// than 16 pairs that are not at an end of its range, or with no weight, does not change. Equal
// colours give exactly no change.
ColourTransfer EstimateTransfer(absl::Span<const ColourPair> pairs);

// A share of a transfer: 0 none of it, 1 all.
ColourTransfer ScaleTransfer(const ColourTransfer& transfer, double strength);

// Where `from` moves on the way to `to`: `keep` 1 stays, 0 arrives.
ColourTransfer MixTransfers(const ColourTransfer& from, const ColourTransfer& to, double keep);

}  // namespace reenact

// How well vectors fall into the clusters their labels say (paper, Table 2). Definitions as in
// scikit-learn's davies_bouldin_score and calinski_harabasz_score.
//
// Pure functions, thread-safe.
#pragma once

#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"

namespace reenact {

struct LabelledPoints {
  int64_t dimension = 0;
  std::vector<float> values;    // point by point
  std::vector<int64_t> labels;  // of the points
};

// Davies and Bouldin 1979: the mean over the clusters of the worst (s_i + s_j) / d_ij, with s the
// mean Euclidean distance of a cluster's points from its centre, d the distance of two centres.
// Lower is better separated.
// Both: kInvalidArgument: sizes do not fit, fewer than two clusters, or two centres in one place.
absl::StatusOr<double> DaviesBouldin(const LabelledPoints& points);

// Calinski and Harabasz 1974: (between-cluster dispersion / (k - 1)) / (within-cluster dispersion /
// (n - k)). Higher is better separated. kInvalidArgument also: no more points than clusters, or no
// dispersion within any.
absl::StatusOr<double> CalinskiHarabasz(const LabelledPoints& points);

}  // namespace reenact

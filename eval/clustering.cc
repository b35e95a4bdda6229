#include "eval/clustering.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <map>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"

namespace reenact {
namespace {

struct Clusters {
  std::vector<size_t> of_point;  // index of its cluster
  std::vector<double> counts;
  std::vector<std::vector<double>> centres;
};

double Distance(const std::vector<double>& a, const std::vector<double>& b) {
  double sum = 0;
  for (size_t i = 0; i < a.size(); ++i) sum += (a[i] - b[i]) * (a[i] - b[i]);
  return std::sqrt(sum);
}

double SquaredDistance(const float* point, const std::vector<double>& centre) {
  double sum = 0;
  for (size_t i = 0; i < centre.size(); ++i) {
    const double difference = double{point[i]} - centre[i];
    sum += difference * difference;
  }
  return sum;
}

absl::StatusOr<Clusters> Cluster(const LabelledPoints& points) {
  const auto dimension = static_cast<size_t>(std::max<int64_t>(points.dimension, 0));
  if (dimension == 0 || points.values.size() != dimension * points.labels.size()) {
    return absl::InvalidArgumentError(absl::StrCat(points.values.size(), " numbers are not ",
                                                   points.labels.size(), " points of dimension ",
                                                   points.dimension));
  }
  Clusters clusters;
  std::map<int64_t, size_t> index_of;
  for (size_t i = 0; i < points.labels.size(); ++i) {
    const auto [entry, is_new] = index_of.emplace(points.labels[i], index_of.size());
    if (is_new) {
      clusters.counts.push_back(0);
      clusters.centres.emplace_back(dimension, 0.0);
    }
    const size_t cluster = entry->second;
    clusters.of_point.push_back(cluster);
    ++clusters.counts[cluster];
    for (size_t k = 0; k < dimension; ++k) {
      clusters.centres[cluster][k] += double{points.values[i * dimension + k]};
    }
  }
  if (clusters.counts.size() < 2) {
    return absl::InvalidArgumentError("clusters are compared with each other: two or more");
  }
  for (size_t c = 0; c < clusters.counts.size(); ++c) {
    for (double& value : clusters.centres[c]) value /= clusters.counts[c];
  }
  return clusters;
}

}  // namespace

absl::StatusOr<double> DaviesBouldin(const LabelledPoints& points) {
  const auto clusters = Cluster(points);
  if (!clusters.ok()) return clusters.status();
  const size_t k = clusters->counts.size();
  std::vector<double> spread(k, 0.0);
  for (size_t i = 0; i < points.labels.size(); ++i) {
    const size_t c = clusters->of_point[i];
    const float* point = &points.values[i * static_cast<size_t>(points.dimension)];
    spread[c] += std::sqrt(SquaredDistance(point, clusters->centres[c])) / clusters->counts[c];
  }
  double sum = 0;
  for (size_t i = 0; i < k; ++i) {
    double worst = 0;
    for (size_t j = 0; j < k; ++j) {
      if (j == i) continue;
      const double apart = Distance(clusters->centres[i], clusters->centres[j]);
      if (apart == 0) {
        return absl::InvalidArgumentError("two clusters have their centres in one place");
      }
      worst = std::max(worst, (spread[i] + spread[j]) / apart);
    }
    sum += worst;
  }
  return sum / static_cast<double>(k);
}

absl::StatusOr<double> CalinskiHarabasz(const LabelledPoints& points) {
  const auto clusters = Cluster(points);
  if (!clusters.ok()) return clusters.status();
  const auto dimension = static_cast<size_t>(points.dimension);
  const size_t k = clusters->counts.size(), n = points.labels.size();
  if (n <= k) return absl::InvalidArgumentError("there are no more points than clusters");
  std::vector<double> middle(dimension, 0.0);
  for (size_t c = 0; c < k; ++c) {
    for (size_t d = 0; d < dimension; ++d) {
      middle[d] += clusters->centres[c][d] * clusters->counts[c] / static_cast<double>(n);
    }
  }
  double between = 0, within = 0;
  for (size_t c = 0; c < k; ++c) {
    const double apart = Distance(clusters->centres[c], middle);
    between += clusters->counts[c] * apart * apart;
  }
  for (size_t i = 0; i < n; ++i) {
    within +=
        SquaredDistance(&points.values[i * dimension], clusters->centres[clusters->of_point[i]]);
  }
  if (within == 0) return absl::InvalidArgumentError("no cluster has any extent");
  return between / within * static_cast<double>(n - k) / static_cast<double>(k - 1);
}

}  // namespace reenact

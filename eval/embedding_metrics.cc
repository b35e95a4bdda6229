#include "eval/embedding_metrics.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace reenact {
namespace {

// Source and driver nearer than this are one person to the network.
constexpr double kSame = 1e-3;

double DotProduct(const Embedding& a, const Embedding& b) {
  double sum = 0;
  for (size_t i = 0; i < a.size(); ++i) sum += double{a[i]} * double{b[i]};
  return sum;
}

}  // namespace

double Cosine(const Embedding& a, const Embedding& b) {
  return DotProduct(a, b) / std::sqrt(DotProduct(a, a) * DotProduct(b, b));
}

double Csim(const Embedding& source, const std::vector<Embedding>& frames) {
  double least = std::numeric_limits<double>::infinity();
  for (const Embedding& frame : frames) least = std::min(least, Cosine(source, frame));
  return least;
}

std::optional<double> LeastSelfCosine(const std::vector<Embedding>& frames) {
  if (frames.size() < 2) return std::nullopt;
  double least = std::numeric_limits<double>::infinity();
  for (size_t i = 0; i < frames.size(); ++i) {
    for (size_t j = i + 1; j < frames.size(); ++j) {
      least = std::min(least, Cosine(frames[i], frames[j]));
    }
  }
  return least;
}

std::optional<double> SelfCsim(const std::vector<Embedding>& generated,
                               const std::vector<Embedding>& driving) {
  const auto a = LeastSelfCosine(generated), b = LeastSelfCosine(driving);
  if (!a.has_value() || !b.has_value()) return std::nullopt;
  return std::abs(*a - *b);
}

double ShareLessAlike(const Embedding& source, const std::vector<Embedding>& others,
                      const std::vector<Embedding>& frames) {
  const double own = Csim(source, frames);
  const auto less = std::count_if(others.begin(), others.end(), [&](const Embedding& other) {
    return Csim(other, frames) < own;
  });
  return static_cast<double>(less) / static_cast<double>(others.size());
}

std::optional<double> IdentityLeak(const Embedding& source, const Embedding& driver,
                                   const std::vector<Embedding>& frames) {
  const double apart = Cosine(source, driver);
  if (frames.empty() || 1 - apart < kSame) return std::nullopt;
  double sum = 0;
  for (const Embedding& frame : frames) sum += (Cosine(frame, driver) - apart) / (1 - apart);
  return sum / static_cast<double>(frames.size());
}

Embedding MeanEmbedding(const std::vector<Embedding>& embeddings) {
  Embedding mean(embeddings.front().size(), 0.0f);
  for (const Embedding& embedding : embeddings) {
    for (size_t i = 0; i < mean.size(); ++i) mean[i] += embedding[i];
  }
  const auto length = static_cast<float>(std::sqrt(DotProduct(mean, mean)));
  for (float& value : mean) value /= length;
  return mean;
}

double RetrievalTop1(const std::vector<Embedding>& pictures, const std::vector<Embedding>& texts) {
  int right = 0;
  for (size_t i = 0; i < pictures.size(); ++i) {
    const double own = Cosine(pictures[i], texts[i]);
    bool nearest = true;
    for (size_t j = 0; j < texts.size() && nearest; ++j) {
      nearest = j == i || Cosine(pictures[i], texts[j]) < own;
    }
    right += nearest ? 1 : 0;
  }
  return static_cast<double>(right) / static_cast<double>(pictures.size());
}

}  // namespace reenact

// Golden files: weights, inputs and outputs of a reference implementation in one safetensors file,
// with the configuration in its metadata. A file that is malformed or lacks a name throws, which
// fails the test.
#pragma once

#include <map>
#include <stdexcept>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "nlohmann/json.hpp"
#include "pipeline/weights/load.h"
#include "pipeline/weights/safetensors.h"
#include "tests/support/paths.h"
#include "torch/torch.h"

namespace reenact::testing {

class Golden {
 public:
  explicit Golden(const std::string& path) : path_(path) {
    auto file = ReadSafetensors(path);
    if (!file.ok()) throw std::runtime_error(file.status().ToString());
    tensors_ = std::move(file->tensors);
    config_ = nlohmann::json::parse(file->metadata.at("config"));
  }

  const nlohmann::json& config() const { return config_; }
  int64_t size(const std::string& key) const { return config_.at(key).get<int64_t>(); }
  bool has(const std::string& name) const { return tensors_.contains(name); }
  const torch::Tensor& at(const std::string& name) const {
    const auto found = tensors_.find(name);
    if (found == tensors_.end()) throw std::runtime_error(path_ + ": no " + name);
    return found->second;
  }
  const torch::Tensor& in(const std::string& name) const { return at("in." + name); }
  const torch::Tensor& out(const std::string& name) const { return at("out." + name); }
  // The state dict.
  std::map<std::string, torch::Tensor> weights() const {
    return WithoutPrefix(tensors_, "weights.");
  }
  // Names of the outputs that begin with `prefix`, without "out." and the prefix.
  std::vector<std::string> outputs(const std::string& prefix = "") const {
    std::vector<std::string> names;
    for (const auto& item : WithoutPrefix(tensors_, "out." + prefix)) names.push_back(item.first);
    return names;
  }

 private:
  std::string path_;
  std::map<std::string, torch::Tensor> tensors_;
  nlohmann::json config_;
};

// max|a - b| <= tolerance * max|b|, of equal shapes; false if anything is NaN.
inline ::testing::AssertionResult Near(const torch::Tensor& actual, const torch::Tensor& expected,
                                       double tolerance) {
  if (actual.sizes() != expected.sizes()) {
    return ::testing::AssertionFailure()
           << "shape " << actual.sizes() << " instead of " << expected.sizes();
  }
  if (actual.numel() == 0) return ::testing::AssertionSuccess();
  const auto a = actual.detach().to(torch::kFloat64), b = expected.detach().to(torch::kFloat64);
  const double difference = (a - b).abs().max().item<double>();
  const double scale = b.abs().max().item<double>();
  if (difference <= tolerance * scale) return ::testing::AssertionSuccess();
  return ::testing::AssertionFailure()
         << "max difference " << difference << ", max " << scale << ", relative "
         << difference / scale << " above " << tolerance;
}

// max|a - b| <= tolerance.
inline ::testing::AssertionResult NearAbsolute(const torch::Tensor& actual,
                                               const torch::Tensor& expected, double tolerance) {
  if (actual.sizes() != expected.sizes()) {
    return ::testing::AssertionFailure()
           << "shape " << actual.sizes() << " instead of " << expected.sizes();
  }
  const double difference = (actual.detach().to(torch::kFloat64) - expected.to(torch::kFloat64))
                                .abs()
                                .max()
                                .item<double>();
  if (difference <= tolerance) return ::testing::AssertionSuccess();
  return ::testing::AssertionFailure() << "max difference " << difference << " above " << tolerance;
}

// Gives every parameter a value that depends on `seed` alone and leaves none idle.
inline void Randomize(torch::nn::Module& module, uint64_t seed, double deviation = 0.1) {
  const torch::NoGradGuard no_grad;
  torch::manual_seed(seed);
  for (auto& parameter : module.parameters()) parameter.normal_(0.0, deviation);
}

}  // namespace reenact::testing

// Declares `files`, the golden files of a prefix. None: the test is skipped (fails where CI=true).
#define REENACT_GOLDEN_FILES(files, ...)                                                 \
  const std::vector<std::string> files =                                                 \
      ::reenact::testing::FilesWithPrefix(::reenact::testing::GoldenDir(), __VA_ARGS__); \
  if (files.empty()) {                                                                   \
    if (::reenact::testing::MustHaveData()) FAIL() << "no golden files " #__VA_ARGS__;   \
    GTEST_SKIP() << "no golden files " #__VA_ARGS__;                                     \
  }                                                                                      \
  static_assert(true, "")

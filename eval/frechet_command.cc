// `frechet`: FID or FVD of features that the operator's own networks made.
#include <iostream>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "eval/commands.h"
#include "eval/frechet.h"
#include "pipeline/weights/safetensors.h"

namespace reenact {
namespace {

struct FrechetFlags {
  std::string real, generated, tensor = "features";
  int ddof = 1;
};

absl::StatusOr<Gaussian> ReadGaussian(const std::string& path, const FrechetFlags& flags) {
  const auto file = ReadSafetensors(path);
  if (!file.ok()) return file.status();
  const auto entry = file->tensors.find(flags.tensor);
  if (entry == file->tensors.end()) {
    return absl::InvalidArgumentError(
        absl::StrCat(path, " has no tensor \"", flags.tensor, "\" (--tensor)"));
  }
  auto gaussian = FitGaussian(entry->second, flags.ddof);
  if (gaussian.ok()) return gaussian;
  return absl::Status(gaussian.status().code(),
                      absl::StrCat(path, ": ", gaussian.status().message()));
}

absl::Status RunFrechet(const FrechetFlags& flags) {
  const auto real = ReadGaussian(flags.real, flags);
  if (!real.ok()) return real.status();
  const auto generated = ReadGaussian(flags.generated, flags);
  if (!generated.ok()) return generated.status();
  const auto distance = FrechetDistance(*real, *generated);
  if (!distance.ok()) return distance.status();
  std::cout << absl::StrFormat("%.6f\n", *distance);
  return absl::OkStatus();
}

}  // namespace

EvalCommand AddFrechet(CLI::App& app) {
  auto flags = std::make_shared<FrechetFlags>();
  CLI::App* command = app.add_subcommand(
      "frechet",
      "Frechet distance of two sets of features: FID or FVD if Inception or I3D made them");
  command->add_option("--real", flags->real, "safetensors file with one row a sample")->required();
  command->add_option("--generated", flags->generated, "the same of generated samples")->required();
  command->add_option("--tensor", flags->tensor, "Name of the tensor [N, D]")
      ->capture_default_str();
  command->add_option("--ddof", flags->ddof, "The covariance divides by N - this: FID 1, FVD 0")
      ->check(CLI::Range(0, 1))
      ->capture_default_str();
  return {command, [flags](const CommandContext&) { return RunFrechet(*flags); }};
}

}  // namespace reenact

// `sample`: pictures of held-out people to judge a trained sDiT by.
#include <filesystem>
#include <iostream>
#include <memory>
#include <optional>

#include "absl/strings/str_cat.h"
#include "training/autoencoder_trainer.h"
#include "training/contact_sheet.h"
#include "training/sampler_option.h"
#include "training/sdit_data.h"
#include "training/sdit_trainer.h"
#include "training/stages.h"
#include "training/trained_parts.h"

namespace reenact {
namespace {

struct SampleFlags {
  std::string autoencoder, clip, sdit, data, portraits, out;
  int64_t people = 6;
  int steps = 8;
  Sampler sampler = Sampler::kDdim;
  uint64_t seed = 1;
};

using Sheet = std::vector<std::vector<torch::Tensor>>;

// [N,C,h,h] scaled latents to N pictures.
std::vector<torch::Tensor> Decode(TrainedAutoencoder& autoencoder, const torch::Tensor& latents,
                                  double scaling_factor) {
  torch::NoGradGuard no_grad;
  return ToBytes(autoencoder.network->decode(latents / scaling_factor)).unbind();
}

// Three sheets. self.png: per person the source and true frames above, generated ones below.
// cross.png: the same with the driving frames of the next person above. text.png: per person the
// caption's person, generated without any source picture, beside a frame of the person described.
absl::Status Sample(const SampleFlags& flags) {
  auto autoencoder = ReadAutoencoder(flags.autoencoder);
  if (!autoencoder.ok()) return autoencoder.status();
  auto clip = ReadClip(flags.clip);
  if (!clip.ok()) return clip.status();
  auto sdit = ReadSdit(flags.sdit);
  if (!sdit.ok()) return sdit.status();
  const auto data = ReadDataCache(flags.data, flags.people);
  if (!data.ok()) return data.status();
  const CachedLatents latents{EncodeAll(autoencoder->network, *data, /*bfloat16=*/false)};
  auto prepared = PrepareSditData(*data, latents, sdit->process.scaling_factor, *clip);
  if (!prepared.ok()) return prepared.status();
  DataCache portraits;
  std::optional<SditData> prepared_portraits;
  if (!flags.portraits.empty()) {
    auto cache = ReadDataCache(flags.portraits, flags.people);
    if (!cache.ok()) return cache.status();
    portraits = *std::move(cache);
    if (portraits.seeds != data->seeds) {
      return absl::InvalidArgumentError("--portraits shows other people than --data");
    }
    auto portrait_data =
        PrepareSditData(portraits, {EncodeAll(autoencoder->network, portraits, /*bfloat16=*/false)},
                        sdit->process.scaling_factor, *clip);
    if (!portrait_data.ok()) return portrait_data.status();
    prepared_portraits = *std::move(portrait_data);
    prepared->portraits = &*prepared_portraits;
  }
  const SditData& sources = prepared_portraits ? *prepared_portraits : *prepared;
  std::error_code error;
  std::filesystem::create_directories(flags.out, error);
  if (error) return absl::InvalidArgumentError(absl::StrCat(flags.out, ": ", error.message()));

  const int64_t count = data->num_people();
  std::vector<int64_t> people, next;
  for (int64_t p = 0; p < count; ++p) {
    people.push_back(p);
    next.push_back((p + 1) % count);
  }
  const auto frames = EvaluationFrames(data->num_frames(), sdit->config.num_frames);
  const auto sheet = [&](const SditRows& rows, const std::vector<int64_t>& drivers) {
    const torch::Tensor sample = SampleRows(
        sdit->network, {.prediction = sdit->process.prediction, .sampler = flags.sampler},
        sdit->process.schedule, rows, flags.steps, flags.seed);
    Sheet result;
    for (int64_t p = 0; p < count; ++p) {
      std::vector<torch::Tensor> above = {sources.people->frames[p][0]};
      for (const int64_t f : frames) {
        above.push_back(data->frames[drivers[static_cast<size_t>(p)]][f]);
      }
      std::vector<torch::Tensor> below =
          Decode(*autoencoder, sources.latents[p].narrow(0, 0, 1), sdit->process.scaling_factor);
      for (torch::Tensor& picture : Decode(*autoencoder, sample[p], sdit->process.scaling_factor)) {
        below.push_back(std::move(picture));
      }
      result.push_back(std::move(above));
      result.push_back(std::move(below));
    }
    return result;
  };

  absl::Status status =
      WriteContactSheet(flags.out + "/self.png",
                        sheet(EvaluationRows(*prepared, sdit->config, people, people), people));
  status.Update(
      WriteContactSheet(flags.out + "/cross.png",
                        sheet(EvaluationRows(*prepared, sdit->config, people, next), next)));
  SditRows from_text = EvaluationRows(*prepared, sdit->config, people, people);
  from_text.keep_source.fill_(false);
  from_text.identity =
      IdentityInput(sdit->config, prepared->text_identity.select(1, 0), std::nullopt);
  status.Update(WriteContactSheet(flags.out + "/text.png", sheet(from_text, people)));
  for (int64_t p = 0; p < count; ++p) {
    std::cout << p << ": " << data->captions[static_cast<size_t>(p)][0] << '\n';
  }
  return status;
}

}  // namespace

void AddSampleStage(CLI::App& app, std::vector<Subcommand>& stages) {
  auto flags = std::make_shared<SampleFlags>();
  CLI::App* command = app.add_subcommand("sample", "draw sheets of generated held-out people");
  command->add_option("--autoencoder", flags->autoencoder, "folder of `autoencoder`, or a bundle")
      ->required();
  command->add_option("--clip", flags->clip, "folder of `clip`, or a bundle")->required();
  command->add_option("--sdit", flags->sdit, "folder of `sdit`, or a bundle")->required();
  command->add_option("--data", flags->data, "folder of held-out people made by `data`")
      ->required();
  command->add_option("--portraits", flags->portraits,
                      "folder of `data --separate-clips` with the same people, for sources");
  command->add_option("--out", flags->out, "folder for self.png, cross.png and text.png")
      ->required();
  command->add_option("--people", flags->people)->check(CLI::Range(1, 64))->capture_default_str();
  AddSamplerOption(*command, "--sampler", flags->sampler);
  command->add_option("--num-steps", flags->steps, "denoising steps")
      ->check(CLI::Range(2, 1000))
      ->capture_default_str();
  command->add_option("--seed", flags->seed)->capture_default_str();
  stages.push_back({command, [flags](const StageContext&) { return Sample(*flags); }});
}

}  // namespace reenact

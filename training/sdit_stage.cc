// `encode` and `sdit`: latents of all pictures, then the sDiT on them.
#include <iostream>
#include <map>
#include <memory>
#include <optional>
#include <tuple>

#include "training/run_flags.h"
#include "training/sampler_option.h"
#include "training/sdit_data.h"
#include "training/sdit_trainer.h"
#include "training/stages.h"
#include "training/trained_parts.h"

namespace reenact {
namespace {

struct EncodeFlags {
  std::string data, autoencoder, out;
  bool bfloat16 = true;
};

absl::Status Encode(const EncodeFlags& flags, const StageContext& context) {
  auto autoencoder = ReadAutoencoder(flags.autoencoder);
  if (!autoencoder.ok()) return autoencoder.status();
  autoencoder->network->to(context.device);
  const auto data = ReadDataCache(flags.data);
  if (!data.ok()) return data.status();
  return WriteLatents(flags.out, *autoencoder, *data, flags.bfloat16);
}

struct SditFlags : RunFlags {
  std::string start_from;
  bool new_clip = false;
  std::string autoencoder, clip, latents, held_out_latents;
  std::string portraits, portrait_latents, changed_portraits, changed_portrait_latents;
  std::string held_out_portraits, held_out_portrait_latents;
  SditTrainingOptions training;
};

// A folder of people with its latents, ready for the sDiT.
struct PreparedFolder {
  DataCache people;
  std::optional<SditData> prepared;

  absl::Status Read(const std::string& folder, const std::string& latents_file, int64_t max_people,
                    double scaling_factor, TrainedClip& clip) {
    auto cache = ReadDataCache(folder, max_people);
    if (!cache.ok()) return cache.status();
    people = *std::move(cache);
    const auto latents = ReadLatents(latents_file, people);
    if (!latents.ok()) return latents.status();
    auto data = PrepareSditData(people, *latents, scaling_factor, clip);
    if (!data.ok()) return data.status();
    prepared = *std::move(data);
    return absl::OkStatus();
  }
};

absl::Status Train(SditFlags flags, const StageContext& context) {
  auto autoencoder = ReadAutoencoder(flags.autoencoder);
  if (!autoencoder.ok()) return autoencoder.status();
  auto clip = ReadClip(flags.clip);
  if (!clip.ok()) return clip.status();
  clip->network->to(context.device);
  RunFlags training_only = flags;
  training_only.held_out.clear();
  auto data = ReadTrainingData(training_only);
  if (!data.ok()) return data.status();
  const auto latents = ReadLatents(flags.latents, data->training);
  if (!latents.ok()) return latents.status();
  std::optional<TrainedSdit> start;
  if (!flags.start_from.empty()) {
    auto read = ReadSdit(flags.start_from);
    if (!read.ok()) return read.status();
    start = *std::move(read);
  }
  // A network that has learned goes on with latents as large as it knows them.
  const double scaling_factor = start ? start->process.scaling_factor : latents->scaling_factor;
  std::cout << "scaling factor " << scaling_factor << std::endl;
  auto training = PrepareSditData(data->training, *latents, scaling_factor, *clip);
  if (!training.ok()) return training.status();
  // Kept here because the prepared data point to them.
  PreparedFolder portraits, changed_portraits, held_out, held_out_portraits;
  for (const auto& [folder, file, target] :
       {std::tuple{flags.portraits, flags.portrait_latents, &portraits},
        std::tuple{flags.changed_portraits, flags.changed_portrait_latents, &changed_portraits},
        std::tuple{flags.held_out, flags.held_out_latents, &held_out},
        std::tuple{flags.held_out_portraits, flags.held_out_portrait_latents,
                   &held_out_portraits}}) {
    if (folder.empty()) continue;
    const absl::Status status = target->Read(folder, file, flags.people, scaling_factor, *clip);
    if (!status.ok()) return status;
  }
  if (portraits.prepared) training->portraits = &*portraits.prepared;
  if (changed_portraits.prepared) training->changed = &*changed_portraits.prepared;
  if (held_out.prepared && held_out_portraits.prepared) {
    held_out.prepared->portraits = &*held_out_portraits.prepared;
  }
  flags.training.seed = flags.run.seed;
  flags.training.device = context.device;
  flags.Join(context, flags.training.gradient);
  if (!held_out.prepared) flags.run.evaluate_minutes = 0;
  auto trainee =
      SditTrainee::Create(flags.training, *training,
                          held_out.prepared ? &*held_out.prepared : nullptr, autoencoder->network);
  if (!trainee.ok()) return trainee.status();
  if (start) {
    const absl::Status status = (*trainee)->StartFrom(*start, flags.new_clip);
    if (!status.ok()) return status;
  }
  auto summary = RunTraining(flags.run, **trainee, std::cout);
  if (!summary.ok()) return summary.status();
  if (start) summary->started_from = start->training;
  if (!flags.IsFirstProcess()) return absl::OkStatus();
  SDiT folded = (*trainee)->Folded();
  return WriteSdit(flags.run.out, (*trainee)->config(), folded,
                   {.prediction = flags.training.prediction,
                    .schedule = flags.training.schedule(),
                    .scaling_factor = scaling_factor},
                   *summary);
}

}  // namespace

void AddEncodeStage(CLI::App& app, std::vector<Subcommand>& stages) {
  auto flags = std::make_shared<EncodeFlags>();
  CLI::App* command = app.add_subcommand("encode", "encode all pictures with the autoencoder");
  command->add_option("--data", flags->data, "folder made by `data`")->required();
  command->add_option("--autoencoder", flags->autoencoder, "folder of `autoencoder`, or a bundle")
      ->required();
  command->add_option("--out", flags->out, "safetensors file to write")->required();
  command->add_option("--bfloat16", flags->bfloat16)->capture_default_str();
  stages.push_back(
      {command, [flags](const StageContext& context) { return Encode(*flags, context); }});
}

void AddSditStage(CLI::App& app, std::vector<Subcommand>& stages) {
  auto flags = std::make_shared<SditFlags>();
  CLI::App* command = app.add_subcommand("sdit", "train the sequence diffusion transformer");
  flags->AddTo(*command, /*minutes=*/50);
  command->add_option("--autoencoder", flags->autoencoder, "folder of `autoencoder`, or a bundle")
      ->required();
  command->add_option("--clip", flags->clip, "folder of `clip`, or a bundle")->required();
  command->add_option("--latents", flags->latents, "file of `encode` for --data")->required();
  command->add_option("--held-out-latents", flags->held_out_latents,
                      "file of `encode` for --held-out");
  command->add_option("--portraits", flags->portraits,
                      "folder of `data --separate-clips` with the same people, for sources");
  command->add_option("--portrait-latents", flags->portrait_latents, "its file of `encode`");
  command->add_option("--changed-portraits", flags->changed_portraits,
                      "the same of `data --separate-clips --changed-looks`, to learn edits from");
  command->add_option("--changed-portrait-latents", flags->changed_portrait_latents);
  command->add_option("--held-out-portraits", flags->held_out_portraits);
  command->add_option("--held-out-portrait-latents", flags->held_out_portrait_latents);
  command->add_option("--start-from", flags->start_from,
                      "folder of an earlier run, or a bundle, to begin from, with as many latent "
                      "channels or fewer; a checkpoint goes first");
  command
      ->add_flag("--new-clip", flags->new_clip,
                 "--clip is not what the run to start from read, so the layer of G begins anew")
      ->needs("--start-from");
  SditTrainingOptions& o = flags->training;
  command->add_option("--width", o.hidden_size)->capture_default_str();
  command->add_option("--depth", o.depth)->capture_default_str();
  command->add_option("--heads", o.num_heads)->capture_default_str();
  command->add_option("--patch", o.patch_size)->capture_default_str();
  command->add_option("--frames", o.num_frames, "frames of a row")->capture_default_str();
  command->add_option("--source", o.source, "source tokens: none (the paper), self or joint")
      ->transform(CLI::CheckedTransformer(
          std::map<std::string, SourceTokens>{{"none", SourceTokens::kNone},
                                              {"self", SourceTokens::kSelf},
                                              {"joint", SourceTokens::kJoint}}))
      ->default_str("self");
  command->add_option("--landmark-map", o.landmark_map)->capture_default_str();
  command
      ->add_option("--landmark-map-frequencies", o.landmark_map_frequencies,
                   "of the Fourier features of its places; 0: the places alone")
      ->capture_default_str();
  command
      ->add_option("--landmark-map-openings", o.landmark_map_openings,
                   "beside them the openings of eyes and mouth, and the irises")
      ->capture_default_str();
  command
      ->add_option("--identity-change", o.identity_change,
                   "beside G how far it is from the source picture's own; with source tokens")
      ->capture_default_str();
  command->add_option("--prediction", o.prediction, "eps (the paper), v or x0")
      ->transform(CLI::CheckedTransformer(std::map<std::string, Prediction>{
          {"eps", Prediction::kEpsilon}, {"v", Prediction::kV}, {"x0", Prediction::kX0}}))
      ->default_str("v");
  command->add_flag("--zero-terminal-snr", o.zero_terminal_snr,
                    "rescale the schedule so that its last step is pure noise; not with eps");
  command->add_option("--learn-sigma", o.learn_sigma, "the paper: true")->capture_default_str();
  command
      ->add_option("--min-snr-gamma", o.min_snr_gamma,
                   "weight the loss by min(SNR, gamma) of the error in x0; 0: not weighted")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  command->add_option("--clips", o.clips, "rows of a step")->capture_default_str();
  command->add_option("--learning-rate", o.learning_rate)->capture_default_str();
  command->add_option("--mapping-lr-ratio", o.mapping_lr_ratio, "the paper: 0.1")
      ->capture_default_str();
  command->add_option("--decay-from", o.decay_from, "share of the run at which the rate falls")
      ->capture_default_str();
  command->add_option("--warmup-steps", o.warmup_steps)->capture_default_str();
  command->add_option("--final-lr-ratio", o.final_lr_ratio, "of the learning rate at the end")
      ->capture_default_str();
  command->add_option("--weight-decay", o.weight_decay)->capture_default_str();
  command->add_option("--mapping-blocks", o.mapping_blocks)->capture_default_str();
  command->add_option("--far-source", o.far_source, "share of rows; the paper: 1")
      ->capture_default_str();
  command->add_option("--ema", o.ema)->capture_default_str();
  command->add_option("--expressive-weight", o.expressive_weight, "lambda of the paper")
      ->capture_default_str();
  command
      ->add_option("--surround-weight", o.surround_weight,
                   "extra weight of latent cells with eyes or mouth and of those beside them")
      ->capture_default_str();
  command
      ->add_option("--portrait-source", o.portrait_source, "share of rows, if there are portraits")
      ->capture_default_str();
  command
      ->add_option("--changed-source", o.changed_source,
                   "share of rows with source tokens, if there are changed portraits")
      ->capture_default_str();
  command
      ->add_option("--same-pose", o.same_pose,
                   "share of those in which one frame is the portrait in the source's very pose")
      ->check(CLI::Range(0.0, 1.0))
      ->capture_default_str();
  command
      ->add_option("--edited-identity", o.edited_identity,
                   "share of those whose G is the source's moved by an edit's direction")
      ->capture_default_str();
  command->add_option("--text-identity", o.text_identity)->capture_default_str();
  command->add_option("--drop-identity", o.drop_identity)->capture_default_str();
  command->add_option("--drop-source-tokens", o.drop_source_tokens)->capture_default_str();
  command->add_option("--drop-single-source-tokens", o.drop_single_source_tokens,
                      "the same of single frames; by default as much");
  command
      ->add_option("--single-frames", o.single_frames,
                   "share of steps with single frames of more people instead of rows")
      ->check(CLI::Range(0.0, 1.0))
      ->capture_default_str();
  command
      ->add_option("--time-draws", o.time_draws, "the time step is the noisiest of so many draws")
      ->check(CLI::Range(1, 16))
      ->capture_default_str();
  command
      ->add_option("--hidden-source-draws", o.hidden_source_draws,
                   "the time step of a row without source tokens, or with a source of other looks, "
                   "is the noisiest of so many draws")
      ->check(CLI::Range(1, 16))
      ->capture_default_str();
  command
      ->add_option("--shared-noise", o.shared_noise,
                   "share of rows whose frames all have the same noise")
      ->check(CLI::Range(0.0, 1.0))
      ->capture_default_str();
  command->add_option("--drop-landmarks", o.drop_landmarks)->capture_default_str();
  command->add_option("--lookalike", o.lookalike, "share of rows driven by another face")
      ->capture_default_str();
  command
      ->add_option("--found-landmarks", o.found_landmarks,
                   "share of rows with landmarks that `data --find-landmarks` found, where it did; "
                   "else exact ones, with the faults of the next two options; the paper: 1")
      ->check(CLI::Range(0.0, 1.0))
      ->capture_default_str();
  command->add_option("--landmark-bias", o.augmentation.bias)->capture_default_str();
  command->add_option("--landmark-jitter", o.augmentation.jitter)->capture_default_str();
  command->add_option("--evaluation-steps", o.evaluation_steps)->capture_default_str();
  AddSamplerOption(*command, "--evaluation-sampler", o.evaluation_sampler);
  command->add_option("--bfloat16", o.bfloat16)->capture_default_str();
  stages.push_back(
      {command, [flags](const StageContext& context) { return Train(*flags, context); }});
}

}  // namespace reenact

#include "eval/evaluation.h"

#include <algorithm>
#include <cstddef>
#include <memory>
#include <optional>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "eval/clip_truth.h"
#include "eval/engine_jobs.h"
#include "eval/parallel.h"
#include "training/people/people.h"

namespace reenact {
namespace {

constexpr int kCaptionsCompared = 64;

// A clip's files and truth; what made it impossible otherwise.
struct PreparedClip {
  HeldOutClip clip;
  absl::StatusOr<ClipTruth> truth = absl::UnknownError("not made");
};

class Evaluation {
 public:
  Evaluation(Engine& engine, const EvalNetworks& networks, const EvaluationOptions& options,
             const ReportProgress& report)
      : engine_(engine), networks_(networks), options_(options), report_(report) {}

  absl::StatusOr<EvaluationResult> Run() {
    auto landmarkers = NewLandmarkers(networks_, options_.threads);
    if (!landmarkers.ok()) return landmarkers.status();
    landmarkers_ = *std::move(landmarkers);
    report_(absl::StrFormat("embedding the portraits of %d people", options_.held_out.num_people));
    auto people = EmbedPortraits(options_.held_out, networks_, options_.threads);
    if (!people.ok()) return people.status();
    people_ = *std::move(people);
    NameVariants();
    started_ = absl::Now();
    for (int first = 0; first < options_.num_clips; first += options_.jobs) {
      if (options_.stop != nullptr && options_.stop->load()) break;
      const int count = std::min(options_.jobs, options_.num_clips - first);
      for (const bool cross : {false, true}) {
        if (auto status = RunClips(first, count, cross); !status.ok()) return status;
      }
      result_.num_clips = first + count;
      ReportDone(result_.num_clips);
    }
    if (result_.num_clips == 0) return absl::CancelledError("stopped before the first clip");
    return std::move(result_);
  }

 private:
  size_t VariantIndex(size_t protocol, size_t method) const {
    return protocol * options_.methods.size() + method;
  }

  bool has_references() const {
    return std::find(options_.protocols.begin(), options_.protocols.end(), Protocol::kSame) !=
           options_.protocols.end();
  }

  void NameVariants() {
    for (const Protocol protocol : options_.protocols) {
      for (const LongVideoMethod method : options_.methods) {
        Variant variant;
        variant.name = absl::StrCat(TraitsOf(protocol).name, " ", MethodWord(method));
        variant.aligned = TraitsOf(protocol).aligned;
        result_.variants.push_back(std::move(variant));
      }
    }
    if (!has_references()) return;
    for (const char* name : {"true frames", "autoencoder"}) {
      result_.variants.emplace_back();
      result_.variants.back().name = name;
    }
  }

  // All that `cross` protocols want of clips first .. first + count - 1.
  absl::Status RunClips(int first, int count, bool cross) {
    std::vector<size_t> protocols;
    for (size_t p = 0; p < options_.protocols.size(); ++p) {
      if (TraitsOf(options_.protocols[p]).cross == cross) protocols.push_back(p);
    }
    if (protocols.empty()) return absl::OkStatus();
    auto clips = PrepareClips(first, count, cross);
    if (!clips.ok()) return clips.status();
    for (const size_t p : protocols) {
      for (size_t m = 0; m < options_.methods.size(); ++m) {
        if (auto status = Generate(*clips, options_.protocols[p], options_.methods[m],
                                   &result_.variants[VariantIndex(p, m)]);
            !status.ok()) {
          return status;
        }
      }
    }
    const bool first_protocol = protocols.front() == 0;
    if (!cross || (!has_references() && first_protocol)) {
      for (const PreparedClip& prepared : *clips) {
        if (!prepared.truth.ok()) continue;
        result_.true_frames.insert(result_.true_frames.end(),
                                   prepared.truth->driving_embeddings.begin(),
                                   prepared.truth->driving_embeddings.end());
      }
    }
    return cross ? absl::OkStatus() : MeasureReferences(*clips);
  }

  absl::StatusOr<std::vector<PreparedClip>> PrepareClips(int first, int count, bool cross) {
    std::vector<PreparedClip> clips(static_cast<size_t>(count));
    const absl::Status status =
        ParallelFor(options_.threads, count, [&](int worker, int i) -> absl::Status {
          PreparedClip& prepared = clips[static_cast<size_t>(i)];
          auto clip = DrawHeldOutClip(options_.held_out, first + i, cross);
          if (!clip.ok()) return clip.status();
          prepared.clip = *std::move(clip);
          FaceLandmarker& landmarker = *landmarkers_[static_cast<size_t>(worker)];
          const auto tracked = TrackFaces(prepared.clip.driving, landmarker);
          if (!tracked.ok()) return tracked.status();
          prepared.truth = MakeClipTruth(prepared.clip, *tracked, options_.held_out.num_frames,
                                         networks_, landmarker);
          return absl::OkStatus();
        });
    if (!status.ok()) return status;
    return clips;
  }

  absl::Status Generate(const std::vector<PreparedClip>& clips, Protocol protocol,
                        LongVideoMethod method, Variant* variant) {
    const ProtocolTraits& traits = TraitsOf(protocol);
    std::vector<EvalJob> jobs;
    std::vector<const PreparedClip*> made;
    for (const PreparedClip& prepared : clips) {
      if (!prepared.truth.ok()) {
        AddFailure(prepared, prepared.truth.status(), variant);
        continue;
      }
      EvalJob job;
      job.request = options_.request;
      job.request.job_id = absl::StrCat("clip-", prepared.clip.index);
      job.request.source.image = prepared.clip.portrait_png;
      job.request.motion_mode = traits.motion;
      job.request.method = method;
      job.driving = prepared.clip.driving_mp4;
      jobs.push_back(std::move(job));
      made.push_back(&prepared);
    }
    auto results = RunEvalJobs(engine_, jobs, options_.threads);
    std::vector<std::vector<Image>> frames;
    std::vector<const PreparedClip*> generated;
    for (size_t i = 0; i < results.size(); ++i) {
      if (!results[i].ok()) {
        // What no clip can be made with is not the clip's failure.
        if (absl::IsInvalidArgument(results[i].status()) ||
            absl::IsUnimplemented(results[i].status())) {
          return absl::Status(results[i].status().code(),
                              absl::StrCat(variant->name, ": ", results[i].status().message()));
        }
        AddFailure(*made[i], results[i].status(), variant);
        continue;
      }
      frames.push_back(std::move(results[i]->frames));
      generated.push_back(made[i]);
    }
    return Measure(generated, frames, {.aligned = traits.aligned, .cross = traits.cross}, variant);
  }

  absl::Status MeasureReferences(const std::vector<PreparedClip>& clips) {
    Variant& true_frames = result_.variants[result_.variants.size() - 2];
    Variant& autoencoder = result_.variants.back();
    std::vector<const PreparedClip*> made;
    for (const PreparedClip& prepared : clips) {
      if (prepared.truth.ok()) made.push_back(&prepared);
    }
    std::vector<std::vector<Image>> truth(made.size()), decoded(made.size());
    const absl::Status status = ParallelFor(
        options_.threads, static_cast<int>(made.size()), [&](int, int i) -> absl::Status {
          truth[static_cast<size_t>(i)] = made[static_cast<size_t>(i)]->truth->frames;
          for (const Image& frame : truth[static_cast<size_t>(i)]) {
            decoded[static_cast<size_t>(i)].push_back(networks_.Reconstruct(frame));
          }
          return absl::OkStatus();
        });
    if (!status.ok()) return status;
    if (auto measured = Measure(made, truth, {}, &true_frames); !measured.ok()) return measured;
    return Measure(made, decoded, {}, &autoencoder);
  }

  absl::Status Measure(const std::vector<const PreparedClip*>& clips,
                       const std::vector<std::vector<Image>>& frames, const MeasureOptions& how,
                       Variant* variant) {
    std::vector<std::optional<ClipMeasures>> measures(clips.size());
    const absl::Status status = ParallelFor(
        options_.threads, static_cast<int>(clips.size()), [&](int worker, int k) -> absl::Status {
          const auto i = static_cast<size_t>(k);
          auto measured =
              MeasureClip(frames[i], *clips[i]->truth, how, Others(clips[i]->clip.index), networks_,
                          *landmarkers_[static_cast<size_t>(worker)]);
          if (!measured.ok()) return measured.status();
          measured->index = clips[i]->clip.index;
          measures[i] = *std::move(measured);
          return absl::OkStatus();
        });
    if (!status.ok()) return status;
    for (size_t i = 0; i < clips.size(); ++i) {
      variant->clips.push_back(*std::move(measures[i]));
      if (static_cast<int>(variant->samples.size()) < options_.num_samples) {
        variant->samples.push_back({clips[i]->truth->source, clips[i]->truth->driving, frames[i]});
      }
    }
    return absl::OkStatus();
  }

  std::vector<Embedding> Others(int index) const {
    std::vector<Embedding> others;
    for (size_t i = 0; i < people_.size(); ++i) {
      if (static_cast<int>(i) != index && !people_[i].empty()) others.push_back(people_[i]);
    }
    return others;
  }

  static void AddFailure(const PreparedClip& prepared, const absl::Status& status,
                         Variant* variant) {
    variant->failures.push_back(absl::StrCat("clip ", prepared.clip.index, ": ", status.message()));
  }

  void ReportDone(int done) const {
    const absl::Duration passed = absl::Now() - started_;
    const absl::Duration left = passed * (options_.num_clips - done) / done;
    report_(absl::StrFormat("%d of %d clips, %.0f s, about %.0f s left", done, options_.num_clips,
                            absl::ToDoubleSeconds(passed), absl::ToDoubleSeconds(left)));
  }

  Engine& engine_;
  const EvalNetworks& networks_;
  const EvaluationOptions& options_;
  const ReportProgress& report_;
  std::vector<std::unique_ptr<FaceLandmarker>> landmarkers_;
  std::vector<Embedding> people_;
  EvaluationResult result_;
  absl::Time started_;
};

}  // namespace

absl::StatusOr<std::vector<std::unique_ptr<FaceLandmarker>>> NewLandmarkers(
    const EvalNetworks& networks, int threads) {
  std::vector<std::unique_ptr<FaceLandmarker>> landmarkers;
  for (int i = 0; i < threads; ++i) {
    auto landmarker = networks.NewLandmarker();
    if (!landmarker.ok()) return landmarker.status();
    landmarkers.push_back(*std::move(landmarker));
  }
  return landmarkers;
}

absl::StatusOr<std::vector<Embedding>> EmbedPortraits(const HeldOutOptions& options,
                                                      const EvalNetworks& networks, int threads) {
  auto landmarkers = NewLandmarkers(networks, threads);
  if (!landmarkers.ok()) return landmarkers.status();
  std::vector<Embedding> embeddings(static_cast<size_t>(options.num_people));
  const absl::Status status =
      ParallelFor(threads, options.num_people, [&](int worker, int i) -> absl::Status {
        const auto crop = CropPortrait(DrawPortrait(options, i), networks.image_size(),
                                       *(*landmarkers)[static_cast<size_t>(worker)]);
        if (absl::IsFailedPrecondition(crop.status())) return absl::OkStatus();
        if (!crop.ok()) return crop.status();
        embeddings[static_cast<size_t>(i)] = networks.Embed(*crop);
        return absl::OkStatus();
      });
  if (!status.ok()) return status;
  return embeddings;
}

absl::StatusOr<double> CaptionRetrieval(const HeldOutOptions& options, const EvalNetworks& networks,
                                        int num_groups, int threads) {
  HeldOutOptions people = options;
  people.num_people = num_groups * kCaptionsCompared;
  const auto pictures = EmbedPortraits(people, networks, threads);
  if (!pictures.ok()) return pictures.status();
  double sum = 0;
  for (int group = 0; group < num_groups; ++group) {
    std::vector<Embedding> own, texts;
    for (int i = group * kCaptionsCompared; i < (group + 1) * kCaptionsCompared; ++i) {
      if ((*pictures)[static_cast<size_t>(i)].empty()) continue;
      own.push_back((*pictures)[static_cast<size_t>(i)]);
      const Person person =
          MakePerson(people.first_seed + static_cast<uint64_t>(i), people.variety);
      texts.push_back(networks.EmbedText(Caption(person, static_cast<uint64_t>(i))));
    }
    if (own.empty()) return absl::FailedPreconditionError("no face found in any portrait");
    sum += RetrievalTop1(own, texts);
  }
  return sum / num_groups;
}

absl::StatusOr<EvaluationResult> Evaluate(Engine& engine, const EvalNetworks& networks,
                                          const EvaluationOptions& options,
                                          const ReportProgress& report) {
  return Evaluation(engine, networks, options, report).Run();
}

}  // namespace reenact

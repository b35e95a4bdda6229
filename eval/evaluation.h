// The whole evaluation: held-out clips through the engine, by several protocols and methods.
//
// Thread-compatible; uses threads of its own while it runs.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "eval/clip_measures.h"
#include "eval/held_out_clip.h"
#include "eval/journal.h"
#include "eval/networks.h"
#include "eval/protocol.h"
#include "pipeline/engine.h"
#include "pipeline/image.h"
#include "pipeline/types.h"

namespace reenact {

struct EvaluationOptions {
  HeldOutOptions held_out;  // its num_people, 2 or more, are those that sources are compared with
  int num_clips = 1;        // 1..num_people
  std::vector<Protocol> protocols = {Protocol::kSame, Protocol::kCross};
  std::vector<Way> ways = {{"anchored"}};
  // Steps, sampler, guidance, seed and smoothing of every job; the rest is the protocol's and the
  // way's.
  JobRequest request;
  int jobs = 4;  // clips that are generated together
  int threads = 1;
  int num_samples = 6;  // clips of which a picture is kept
  int sample_columns = 6;
  // Clips are taken from it and added to it as they come (ClipRecord); null: nothing is kept. Its
  // settings are the caller's and say everything above but num_clips, jobs and threads.
  Journal* journal = nullptr;
  const std::atomic<bool>* stop = nullptr;
};

// The clips made in one way.
struct Variant {
  std::string name;  // "same anchored", "true frames", "autoencoder"
  bool aligned = true;
  std::vector<ClipMeasures> clips;
  std::vector<std::string> failures;  // "clip 3: no face found in the portrait"
  std::vector<Image> samples;         // DrawSample() of the first clips
};

struct EvaluationResult {
  // The protocols' ways, in order; then, if kSame is one of the protocols, what its true frames
  // measure, and what the autoencoder leaves of them.
  std::vector<Variant> variants;
  int num_clips = 0;                   // below EvaluationOptions::num_clips if it was stopped
  std::vector<Embedding> true_frames;  // of all driving frames of kSame (or of the first protocol)
};

using ReportProgress = std::function<void(const std::string& line)>;

// A clip that cannot be made (no face in its portrait) is a failure of the variant and goes on.
// `stop` ends it with the clips done by then, kCancelled before the first. `engine` and `networks`
// are of one bundle. What the journal held changes nothing in the result. kInvalidArgument: it
// holds something else.
absl::StatusOr<EvaluationResult> Evaluate(Engine& engine, const EvalNetworks& networks,
                                          const EvaluationOptions& options,
                                          const ReportProgress& report);

// Source embeddings of all people, by index; empty vectors where the portrait shows no face.
absl::StatusOr<std::vector<Embedding>> EmbedPortraits(const HeldOutOptions& options,
                                                      const EvalNetworks& networks, int threads);

// The share of captions that are the nearest of 64 to their person's picture, 0..1: over as many
// groups of 64 people as `num_groups`, from the first on. Each caption is worded differently.
absl::StatusOr<double> CaptionRetrieval(const HeldOutOptions& options, const EvalNetworks& networks,
                                        int num_groups, int threads);

// One landmarker for each of `threads`.
absl::StatusOr<std::vector<std::unique_ptr<FaceLandmarker>>> NewLandmarkers(
    const EvalNetworks& networks, int threads);

}  // namespace reenact

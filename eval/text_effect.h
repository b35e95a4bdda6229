// Whether texts and edits show in the pictures: of the difference that a change of looks makes in a
// drawn person's picture, how much the generated picture shows when the text says so.
#pragma once

#include <atomic>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "eval/evaluation.h"
#include "eval/held_out_clip.h"
#include "eval/networks.h"
#include "pipeline/engine.h"
#include "pipeline/image.h"
#include "training/people/people.h"

namespace reenact {

// With d the true and g the generated difference of two pictures, over all pairs added.
class PictureChange {
 public:
  // All of one size; the first two are generated.
  void Add(const Image& before, const Image& after, const Image& true_before,
           const Image& true_after);

  // <g, d> / <d, d>: 1 where all of the change is there, at its place and in its colours, 0 where
  // nothing of it is. What changes elsewhere does not count.
  double share() const { return product_ / truth_; }
  // <g, d> / (|g| |d|): 1 where nothing else changes.
  double cosine() const;

 private:
  double product_ = 0, truth_ = 0, generated_ = 0;
};

// A thing that texts are asked to change.
struct LooksChange {
  const char* name;
  // The person with other looks; `index` tells which.
  Person (*apply)(const Person& person, int index);
};
// Glasses (put on), hair (colour), shirt, background.
const std::vector<LooksChange>& LooksChanges();

// Clip `index`'s person without glasses and hat and with hair.
Person PlainPerson(const HeldOutOptions& options, int index);

struct TextEffect {
  std::string name;
  PictureChange text;  // two captions, nothing else said
  PictureChange edit;  // a portrait, and the same edited at full strength
};

struct TextEffectOptions {
  HeldOutOptions held_out;
  JobRequest request;  // what the jobs have in common; its guidance is for the texts alone
  int jobs = 4;        // people generated together
  int threads = 2;
  const std::atomic<bool>* stop = nullptr;
};

// One for each of LooksChanges(). kCancelled after `stop`. Errors of drawing, of the landmark
// network and of the jobs; kFailedPrecondition if no face is found in a clip.
absl::StatusOr<std::vector<TextEffect>> MeasureTextEffects(Engine& engine,
                                                           const EvalNetworks& networks,
                                                           const TextEffectOptions& options,
                                                           const ReportProgress& report);

}  // namespace reenact

#include "eval/text_effect.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <utility>

#include "absl/strings/str_cat.h"
#include "eval/clip_truth.h"
#include "eval/engine_jobs.h"
#include "pipeline/face/crop.h"
#include "training/people/palettes.h"

namespace reenact {
namespace {

constexpr Rgb kDarkFrames = {30, 30, 34};

// Another colour of the palette, `index` + 1 names on.
template <size_t kSize>
Paint NextPaint(const std::array<NamedColor, kSize>& palette, const Paint& paint, int index) {
  const int steps = 1 + index % static_cast<int>(kSize - 1);
  const int name = (paint.name + steps) % static_cast<int>(kSize);
  return {name, palette[static_cast<size_t>(name)].color};
}

Person WithGlasses(const Person& person, int index) {
  Person changed = person;
  changed.glasses = index % 2 == 0 ? Glasses::kRound : Glasses::kSquare;
  changed.glasses_color = kDarkFrames;
  return changed;
}

Person WithHair(const Person& person, int index) {
  Person changed = person;
  changed.hair = NextPaint(kHairColors, person.hair, index);
  return changed;
}

Person WithShirt(const Person& person, int index) {
  Person changed = person;
  changed.clothes = NextPaint(kClothColors, person.clothes, index);
  return changed;
}

Person WithBackground(const Person& person, int index) {
  Person changed = person;
  changed.background = NextPaint(kBackgroundColors, person.background, index);
  return changed;
}

// The clip's true frames with other looks.
std::vector<Image> FramesOf(const Person& person, const HeldOutClip& clip) {
  const PersonRenderer renderer(person);
  std::vector<Image> frames;
  for (const FaceState& state : clip.states) {
    frames.push_back(renderer.Draw(state, clip.driving.front().width).image);
  }
  return frames;
}

// What of them the engine generates.
std::vector<Image> CropFrames(const std::vector<Image>& frames, const CropBox& box, int size) {
  std::vector<Image> cropped;
  for (const Image& frame : frames) cropped.push_back(CropImage(frame, box, size));
  return cropped;
}

void AddFrames(const EvalJobResult& before, const EvalJobResult& after,
               const std::vector<Image>& true_before, const std::vector<Image>& true_after,
               PictureChange& change) {
  for (size_t k = 0; k < true_before.size(); ++k) {
    change.Add(before.frames[k], after.frames[k], true_before[k], true_after[k]);
  }
}

}  // namespace

void PictureChange::Add(const Image& before, const Image& after, const Image& true_before,
                        const Image& true_after) {
  for (size_t i = 0; i < before.rgb.size(); ++i) {
    const double generated = double{static_cast<float>(after.rgb[i])} - before.rgb[i];
    const double truth = double{static_cast<float>(true_after.rgb[i])} - true_before.rgb[i];
    product_ += generated * truth;
    truth_ += truth * truth;
    generated_ += generated * generated;
  }
}

double PictureChange::cosine() const {
  return generated_ > 0 ? product_ / std::sqrt(generated_ * truth_) : 0;
}

const std::vector<LooksChange>& LooksChanges() {
  static const auto* const changes = new std::vector<LooksChange>{{"glasses", WithGlasses},
                                                                  {"hair", WithHair},
                                                                  {"shirt", WithShirt},
                                                                  {"background", WithBackground}};
  return *changes;
}

Person PlainPerson(const HeldOutOptions& options, int index) {
  const auto seed = options.first_seed + static_cast<uint64_t>(index);
  Person person = MakePerson(seed, options.variety);
  person.glasses = Glasses::kNone;
  person.hat = Hat::kNone;
  person.striped_clothes = false;
  if (person.hair_style == HairStyle::kBald) person.hair_style = HairStyle::kShort;
  return person;
}

absl::StatusOr<std::vector<TextEffect>> MeasureTextEffects(Engine& engine,
                                                           const EvalNetworks& networks,
                                                           const TextEffectOptions& options,
                                                           const ReportProgress& report) {
  const std::vector<LooksChange>& changes = LooksChanges();
  std::vector<TextEffect> effects;
  for (const LooksChange& change : changes) effects.push_back({change.name, {}, {}});
  auto landmarker = networks.NewLandmarker();
  if (!landmarker.ok()) return landmarker.status();
  const int people = options.held_out.num_people, size = networks.image_size();

  for (int first = 0; first < people; first += options.jobs) {
    if (options.stop != nullptr && options.stop->load()) return absl::CancelledError("stopped");
    const int last = std::min(first + options.jobs, people);
    std::vector<EvalJob> jobs;
    // Of a person: the true frames as he is and after each change.
    std::vector<std::vector<std::vector<Image>>> truth;
    for (int i = first; i < last; ++i) {
      const Person plain = PlainPerson(options.held_out, i);
      auto clip = DrawHeldOutClipOf(plain, options.held_out, i);
      if (!clip.ok()) return clip.status();
      const auto tracked = TrackFaces(clip->driving, **landmarker);
      if (!tracked.ok()) return tracked.status();
      const auto box = DrivingCrop(*tracked, options.held_out.size, options.held_out.size);
      if (!box.ok()) return box.status();

      EvalJob text{options.request, clip->driving_mp4};
      text.request.motion.mode = MotionMode::kAbsolute;
      text.request.source.text = Caption(plain);
      EvalJob picture{text.request, clip->driving_mp4};
      picture.request.guidance_scale.reset();
      picture.request.source = {};
      picture.request.source.image = clip->portrait_png;
      jobs.push_back(text);
      jobs.push_back(picture);
      truth.push_back({CropFrames(clip->truth, *box, size)});
      for (const LooksChange& change : changes) {
        const Person changed = change.apply(plain, i);
        const EditTexts words = DescribeEdit(plain, changed, plain.seed);
        text.request.source.text = Caption(changed);
        EvalJob edited = picture;
        edited.request.source.edit_from = words.from;
        edited.request.source.edit_to = words.to;
        edited.request.source.edit_strength = 1;
        jobs.push_back(text);
        jobs.push_back(std::move(edited));
        truth.back().push_back(CropFrames(FramesOf(changed, *clip), *box, size));
      }
    }

    const auto results = RunEvalJobs(engine, jobs, options.threads);
    for (const auto& result : results) {
      if (!result.ok()) return result.status();
    }
    const size_t per_person = 2 * (changes.size() + 1);
    for (size_t p = 0; p < truth.size(); ++p) {
      const auto* const of_person = &results[p * per_person];
      for (size_t c = 0; c < changes.size(); ++c) {
        const auto add = [&](size_t kind, PictureChange& change) {
          AddFrames(*of_person[kind], *of_person[2 * (c + 1) + kind], truth[p][0], truth[p][c + 1],
                    change);
        };
        add(0, effects[c].text);
        add(1, effects[c].edit);
      }
    }
    report(absl::StrCat("texts: ", last, " of ", people, " people"));
  }
  return effects;
}

}  // namespace reenact

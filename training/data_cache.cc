#include "training/data_cache.h"

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <limits>
#include <nlohmann/json.hpp>
#include <optional>
#include <ostream>
#include <random>
#include <thread>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "pipeline/weights/safetensors.h"
#include "training/landmark_augmentation.h"
#include "training/people/people.h"
#include "training/training_run.h"

namespace reenact {
namespace {

constexpr double kFps = 30;
constexpr int kMaxLooks = 32;
constexpr uint64_t kEditPhrasings = 4;  // of every frame's change of looks
// A clip is this long, in frames; the frames kept are drawn from it without replacement.
constexpr int kMinClip = 30, kMaxClip = 120;
// Streams of StepSeed() for what is drawn beside the person.
constexpr uint64_t kClipStream = 101, kChoiceStream = 102, kLookalikeStream = 103,
                   kPortraitStream = 104, kLooksStream = 105, kEyePlayStream = 106,
                   kChangedEyesStream = 107, kHeadPlayStream = 108;

std::string ShardPath(const std::string& folder, int64_t shard) {
  return absl::StrFormat("%s/people-%05d.safetensors", folder, shard);
}

// Who is at place `index` of the whole cache.
struct Entry {
  uint64_t seed = 0;
  Person person;
};

Entry EntryAt(const DataOptions& o, int64_t index) {
  const uint64_t seed = o.first_seed + static_cast<uint64_t>(index / o.looks);
  Entry entry = {.seed = seed, .person = MakePerson(seed, o.variety)};
  const auto look = static_cast<uint64_t>(index % o.looks);
  // Streams beyond those of changed_looks, whose number is a frame's.
  if (look > 0) {
    entry.person = ChangeLooks(entry.person, StepSeed(kLooksStream, seed * 64 + kMinClip + look));
  }
  return entry;
}

int64_t NumEntries(const DataOptions& o) { return o.people * o.looks; }

// How the person at `entry` looks in frame `f`, with changed_looks.
Person ChangedPerson(const Entry& entry, int f) {
  return ChangeLooks(entry.person,
                     StepSeed(kLooksStream, entry.seed * 64 + static_cast<uint64_t>(f)));
}

nlohmann::json Edits(const DataOptions& o, int64_t first, int64_t count) {
  nlohmann::json people = nlohmann::json::array();
  for (int64_t i = 0; i < count; ++i) {
    const Entry entry = EntryAt(o, first + i);
    nlohmann::json frames = nlohmann::json::array();
    for (int f = 0; f < o.frames; ++f) {
      const Person changed = ChangedPerson(entry, f);
      nlohmann::json phrasings = nlohmann::json::array();
      for (uint64_t k = 0; k < kEditPhrasings; ++k) {
        const EditTexts edit =
            DescribeEdit(changed, entry.person, StepSeed(entry.seed, f * kEditPhrasings + k));
        phrasings.push_back({edit.from, edit.to});
      }
      frames.push_back(std::move(phrasings));
    }
    people.push_back(std::move(frames));
  }
  return people;
}

std::map<std::string, std::string> ShardMetadata(const DataOptions& o, int64_t first,
                                                 int64_t count) {
  nlohmann::json captions = nlohmann::json::array();
  for (int64_t i = 0; i < count; ++i) {
    const auto [seed, person] = EntryAt(o, first + i);
    nlohmann::json phrasings = nlohmann::json::array();
    for (int k = 0; k < o.captions; ++k) {
      phrasings.push_back(Caption(
          person, static_cast<uint64_t>(k),
          o.detailed_captions && k % 2 == 1 ? CaptionDetail::kDetailed : CaptionDetail::kShort));
    }
    for (int k = 0; k < o.partial_captions; ++k) {
      phrasings.push_back(
          Caption(person, StepSeed(seed, static_cast<uint64_t>(k)), CaptionDetail::kPartial));
    }
    captions.push_back(std::move(phrasings));
  }
  std::map<std::string, std::string> metadata = {
      {"format", kDataFormat},
      {"size", absl::StrCat(o.size)},
      {"options",
       absl::StrCat(
           "people ", o.first_seed + static_cast<uint64_t>(first / o.looks), "+", count,
           o.looks > 1 ? absl::StrCat(" looks ", o.looks) : "", " frames ", o.frames,
           " supersampling ", o.supersampling, " lookalikes ", o.lookalikes,
           o.separate_clips ? " separate clips" : "", o.changed_looks ? " changed looks" : "",
           o.partial_captions > 0 ? absl::StrCat(" partial captions ", o.partial_captions) : "",
           o.variety == Variety::kRich ? " rich" : "",
           o.eye_play > 0 ? absl::StrCat(o.changed_looks ? " own" : "", " eye play ", o.eye_play)
                          : "",
           o.head_play > 0 ? absl::StrCat(" head play ", o.head_play) : "",
           o.open_landmarker ? " found landmarks" : "")},
      {"captions", captions.dump()}};
  if (o.changed_looks) metadata["edits"] = Edits(o, first, count).dump();
  return metadata;
}

// The moments of a clip that are kept: distinct, in order, anywhere in the clip.
std::vector<int> ChooseMoments(std::mt19937_64& random, int clip_length, int count) {
  std::vector<int> all(static_cast<size_t>(clip_length));
  for (int i = 0; i < clip_length; ++i) all[static_cast<size_t>(i)] = i;
  // A partial Fisher-Yates shuffle by hand: std::shuffle differs between standard libraries.
  for (int i = 0; i < count; ++i) {
    const auto j = static_cast<size_t>(i) + random() % static_cast<uint64_t>(clip_length - i);
    std::swap(all[static_cast<size_t>(i)], all[j]);
  }
  all.resize(static_cast<size_t>(count));
  std::sort(all.begin(), all.end());
  return all;
}

// One moment of a clip that belongs to frame `f` alone.
FaceState PortraitState(uint64_t seed, int f) {
  const uint64_t clip_seed = StepSeed(kPortraitStream, seed * 64 + static_cast<uint64_t>(f));
  return MakeClip(clip_seed, kMinClip, kFps)[clip_seed % kMinClip];
}

// The state of frame `f` with other eyes, in a share of the frames; chosen apart with changed
// looks, so that the portraits that these were drawn over have other ones again.
FaceState PlayEyes(FaceState state, const DataOptions& o, uint64_t seed, int f) {
  std::mt19937_64 random(StepSeed(o.changed_looks ? kChangedEyesStream : kEyePlayStream,
                                  seed * 64 + static_cast<uint64_t>(f)));
  if (DrawUniform(random) >= o.eye_play) return state;
  Expression& e = state.expression;
  // Open in two of five, so that it shows where they look, and shut in one of six.
  const auto close = static_cast<float>(std::clamp(2.4 * DrawUniform(random) - 1, 0.0, 1.0));
  e.eye_close_left = e.eye_close_right = close;
  e.eyes_wide *= 1 - close;
  e.gaze_x = static_cast<float>(2 * DrawUniform(random) - 1);
  e.gaze_y = static_cast<float>(2 * DrawUniform(random) - 1);
  return state;
}

// The state of frame `f` with another turn of the head, in a share of the frames.
FaceState PlayHead(FaceState state, const DataOptions& o, uint64_t seed, int f) {
  std::mt19937_64 random(StepSeed(kHeadPlayStream, seed * 64 + static_cast<uint64_t>(f)));
  if (DrawUniform(random) >= o.head_play) return state;
  const auto within = [&](double degrees) {
    return static_cast<float>(degrees * (2 * DrawUniform(random) - 1));
  };
  state.pose.yaw = within(40);
  state.pose.pitch = within(25);
  state.pose.roll = within(20);
  return state;
}

// Looks for the face of every picture that a thread draws.
class FaceFinder {
 public:
  explicit FaceFinder(FaceLandmarker& landmarker) : landmarker_(landmarker) {}

  // Into `target` [478,3], or NaN.
  absl::Status Find(const Image& picture, torch::Tensor target) {
    auto found = landmarker_.Detect(picture);
    // A video's face is looked for where it was, and found better than where the detector says.
    if (found.ok() && *found) found = landmarker_.Follow(picture, (*found)->landmarks);
    if (!found.ok()) return found.status();
    ++pictures_;
    if (*found) {
      ++faces_;
      StoreLandmarks((*found)->landmarks, std::move(target));
    } else {
      target.fill_(std::numeric_limits<float>::quiet_NaN());
    }
    return absl::OkStatus();
  }

  int64_t pictures() const { return pictures_; }
  int64_t faces() const { return faces_; }

 private:
  FaceLandmarker& landmarker_;
  int64_t pictures_ = 0, faces_ = 0;
};

// `finder`: null if nobody looks for faces.
absl::Status WriteShard(const DataOptions& o, int64_t shard, FaceFinder* finder) {
  const int64_t first = shard * kPeoplePerShard;
  const int64_t count = std::min(kPeoplePerShard, NumEntries(o) - first);
  const int64_t side = o.size, pixels = side * side;
  auto frames = torch::empty({count, o.frames, 3, side, side}, torch::kUInt8);
  auto masks = torch::empty({count, o.frames, side, side}, torch::kUInt8);
  auto landmarks = torch::empty({count, o.frames, kNumLandmarks, 3});
  auto lookalikes = torch::empty({count, o.frames, o.lookalikes, kNumLandmarks, 3});
  auto found = torch::empty({count, o.frames, 1 + o.lookalikes, kNumLandmarks, 3});
  auto seeds = torch::empty({count}, torch::kInt64);
  // Landmarks do not depend on the size of the picture that nobody looks at.
  const int lookalike_size = finder != nullptr ? o.size : 8;
  const int lookalike_supersampling = finder != nullptr ? o.supersampling : 1;
  absl::Status status;
  for (int64_t i = 0; i < count && status.ok(); ++i) {
    const Entry entry = EntryAt(o, first + i);
    const auto& [seed, person] = entry;
    seeds[i] = static_cast<int64_t>(seed);
    std::mt19937_64 random(StepSeed(kChoiceStream, seed));
    const int length = std::max(
        o.frames, kMinClip + static_cast<int>(random() % uint64_t{kMaxClip - kMinClip + 1}));
    const std::vector<FaceState> clip = MakeClip(StepSeed(kClipStream, seed), length, kFps);
    const std::vector<int> moments = ChooseMoments(random, length, o.frames);
    std::optional<PersonRenderer> renderer;
    std::vector<PersonRenderer> others;
    for (int k = 0; k < o.lookalikes; ++k) {
      // Below the held-out seeds, whoever is drawn: a lookalike lends only the shape of a face.
      others.emplace_back(MakePerson(
          StepSeed(kLookalikeStream, seed * 64 + static_cast<uint64_t>(k)) % kFirstHeldOutSeed));
    }
    for (int f = 0; f < o.frames; ++f) {
      const FaceState calm = o.separate_clips
                                 ? PortraitState(seed, f)
                                 : clip[static_cast<size_t>(moments[static_cast<size_t>(f)])];
      const FaceState state = PlayHead(PlayEyes(calm, o, seed, f), o, seed, f);
      if (o.changed_looks) {
        renderer.emplace(ChangedPerson(entry, f));
      } else if (!renderer) {
        renderer.emplace(person);
      }
      const Render render = renderer->Draw(state, o.size, o.supersampling);
      uint8_t* planes = frames[i][f].data_ptr<uint8_t>();
      for (int64_t p = 0; p < pixels; ++p) {
        for (int c = 0; c < 3; ++c) {
          planes[c * pixels + p] = render.image.rgb[static_cast<size_t>(3 * p + c)];
        }
      }
      StoreLandmarks(render.landmarks, landmarks[i][f]);
      const std::vector<uint8_t> mask = ExpressiveMask(render.landmarks, o.size);
      std::memcpy(masks[i][f].data_ptr<uint8_t>(), mask.data(), mask.size());
      if (finder != nullptr) status.Update(finder->Find(render.image, found[i][f][0]));
      for (int k = 0; k < o.lookalikes; ++k) {
        const Render other =
            others[static_cast<size_t>(k)].Draw(state, lookalike_size, lookalike_supersampling);
        StoreLandmarks(other.landmarks, lookalikes[i][f][k]);
        if (finder != nullptr) status.Update(finder->Find(other.image, found[i][f][1 + k]));
      }
    }
  }
  if (!status.ok()) return status;
  TensorMap tensors = {{"frames", frames},
                       {"masks", masks},
                       {"landmarks", landmarks},
                       {"lookalikes", lookalikes},
                       {"seeds", seeds}};
  if (finder != nullptr) tensors["found"] = found;
  return WriteSafetensors(ShardPath(o.out, shard), tensors, ShardMetadata(o, first, count));
}

// Adds a shard's edits to the cache: kEditPhrasings of each frame of `count` people.
absl::Status ReadEdits(const std::string& text, int64_t count, DataCache& cache) {
  const auto people = nlohmann::json::parse(text, nullptr, false);
  const auto fits = [](const nlohmann::json& list, int64_t size) {
    return list.is_array() && static_cast<int64_t>(list.size()) == size;
  };
  const absl::Status damaged = absl::InvalidArgumentError("its edits do not fit its frames");
  if (!fits(people, count)) return damaged;
  for (const nlohmann::json& frames : people) {
    if (!fits(frames, cache.num_frames())) return damaged;
    auto& edits = cache.edits.emplace_back();
    for (const nlohmann::json& phrasings : frames) {
      if (!fits(phrasings, kEditPhrasings)) return damaged;
      std::vector<EditTexts>& of_frame = edits.emplace_back();
      for (const nlohmann::json& edit : phrasings) {
        if (!fits(edit, 2) || !edit[0].is_string() || !edit[1].is_string()) return damaged;
        of_frame.push_back({edit[0].get<std::string>(), edit[1].get<std::string>()});
      }
    }
  }
  return absl::OkStatus();
}

bool ShardIsCurrent(const DataOptions& o, int64_t shard) {
  const std::string path = ShardPath(o.out, shard);
  if (!std::filesystem::exists(path)) return false;
  const auto file = ReadSafetensors(path);
  const int64_t first = shard * kPeoplePerShard;
  return file.ok() && file->metadata ==
                          ShardMetadata(o, first, std::min(kPeoplePerShard, NumEntries(o) - first));
}

// What the drawing threads share.
struct Progress {
  std::atomic<int64_t> next_shard{0};
  absl::Mutex mu;
  absl::Status status ABSL_GUARDED_BY(mu);
  int64_t done ABSL_GUARDED_BY(mu) = 0;
  // In what was drawn now.
  int64_t pictures ABSL_GUARDED_BY(mu) = 0, faces ABSL_GUARDED_BY(mu) = 0;
};

}  // namespace

absl::Status WriteDataCache(const DataOptions& options, std::ostream& log) {
  if (options.people < 1 || options.frames < 2 || options.frames > kMinClip || options.size < 8 ||
      options.lookalikes < 0 || options.captions < 1 || options.partial_captions < 0 ||
      options.looks < 1 || options.looks > kMaxLooks || !(options.eye_play >= 0) ||
      options.eye_play > 1 || !(options.head_play >= 0) || options.head_play > 1 ||
      options.threads < 1) {
    return absl::InvalidArgumentError(
        absl::StrCat("need people >= 1, 2 <= frames <= ", kMinClip,
                     ", size >= 8, captions >= 1, partial captions >= 0, 1 <= looks <= ", kMaxLooks,
                     ", 0 <= eye play <= 1, 0 <= head play <= 1, threads >= 1"));
  }
  if (options.changed_looks && !options.separate_clips) {
    return absl::InvalidArgumentError("changed looks are for frames of separate clips");
  }
  if (options.first_seed < kFirstHeldOutSeed &&
      options.first_seed + static_cast<uint64_t>(options.people) > kFirstHeldOutSeed) {
    return absl::InvalidArgumentError("people reach into the held-out seeds");
  }
  std::error_code error;
  std::filesystem::create_directories(options.out, error);
  if (error) return absl::InvalidArgumentError(absl::StrCat(options.out, ": ", error.message()));

  const int64_t shards = (NumEntries(options) + kPeoplePerShard - 1) / kPeoplePerShard;
  const absl::Time started = absl::Now();
  Progress progress;
  const auto draw = [&](FaceFinder* finder) {
    while (options.stop == nullptr || !options.stop->load()) {
      const int64_t shard = progress.next_shard.fetch_add(1);
      if (shard >= shards) return;
      const absl::Status status =
          ShardIsCurrent(options, shard) ? absl::OkStatus() : WriteShard(options, shard, finder);
      absl::MutexLock lock(&progress.mu);
      progress.status.Update(status);
      if (!progress.status.ok()) return;
      ++progress.done;
      const double seconds = absl::ToDoubleSeconds(absl::Now() - started);
      log << absl::StrFormat("shard %d of %d, %.0f s, %.0f s left", progress.done, shards, seconds,
                             seconds / static_cast<double>(progress.done) *
                                 static_cast<double>(shards - progress.done))
          << std::endl;
    }
  };
  const auto work = [&] {
    if (!options.open_landmarker) return draw(nullptr);
    const auto landmarker = options.open_landmarker();
    if (!landmarker.ok()) {
      absl::MutexLock lock(&progress.mu);
      progress.status.Update(landmarker.status());
      return;
    }
    FaceFinder finder(**landmarker);
    draw(&finder);
    absl::MutexLock lock(&progress.mu);
    progress.pictures += finder.pictures();
    progress.faces += finder.faces();
  };
  std::vector<std::thread> threads;
  for (int i = 1; i < options.threads; ++i) threads.emplace_back(work);
  work();
  for (std::thread& thread : threads) thread.join();
  absl::MutexLock lock(&progress.mu);
  if (progress.pictures > 0) {
    log << "faces found in " << progress.faces << " of " << progress.pictures
        << " pictures drawn; for the others exact landmarks count" << std::endl;
  }
  return progress.status;
}

absl::StatusOr<DataCache> ReadDataCache(const std::string& folder, int64_t max_people) {
  std::vector<std::string> paths;
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(folder, error)) {
    const std::string name = entry.path().filename().string();
    if (name.starts_with("people-") && name.ends_with(".safetensors")) {
      paths.push_back(entry.path().string());
    }
  }
  if (paths.empty()) {
    return absl::NotFoundError(
        absl::StrCat("no people-*.safetensors in ", folder, "; make them with `data`"));
  }
  std::sort(paths.begin(), paths.end());
  DataCache cache;
  int64_t filled = 0, capacity = 0;
  bool looked_for_faces = false;
  for (size_t i = 0; i < paths.size(); ++i) {
    const auto file = MapSafetensors(paths[i]);
    if (!file.ok()) return file.status();
    const auto seeds = file->tensors.find("seeds");
    if (i == 0) looked_for_faces = file->tensors.contains("found");
    if (seeds != file->tensors.end()) {
      capacity += std::min(seeds->second.numel(), kPeoplePerShard);
    }
    if (max_people > 0 && capacity >= max_people) paths.resize(i + 1);
  }
  std::vector<std::pair<std::string, torch::Tensor*>> parts = {{"frames", &cache.frames},
                                                               {"landmarks", &cache.landmarks},
                                                               {"lookalikes", &cache.lookalikes},
                                                               {"masks", &cache.masks}};
  if (looked_for_faces) parts.emplace_back("found", &cache.found);
  for (const std::string& path : paths) {
    auto file = ReadSafetensors(path);
    if (!file.ok()) return file.status();
    const auto damaged = [&](const std::string& what) {
      return absl::InvalidArgumentError(absl::StrCat(path, ": ", what));
    };
    if (file->metadata["format"] != kDataFormat) return damaged("not a shard of people");
    const auto seeds = file->tensors.find("seeds");
    if (seeds == file->tensors.end() || seeds->second.dim() != 1) return damaged("no seeds");
    const int64_t count = seeds->second.size(0);
    if (count > kPeoplePerShard) return damaged("too many people");
    for (const auto& [name, target] : parts) {
      const auto found = file->tensors.find(name);
      if (found == file->tensors.end() || found->second.dim() < 4) return damaged("no " + name);
      const torch::Tensor& part = found->second;
      if (!target->defined()) {
        std::vector<int64_t> shape = part.sizes().vec();
        shape[0] = capacity;
        *target = torch::empty(shape, part.scalar_type());
      }
      if (part.size(0) != count || part.sizes().slice(1) != target->sizes().slice(1) ||
          part.scalar_type() != target->scalar_type()) {
        return damaged(name + " does not fit the other shards");
      }
      target->narrow(0, filled, count).copy_(part);
    }
    const auto captions = nlohmann::json::parse(file->metadata["captions"], nullptr, false);
    if (!captions.is_array() || static_cast<int64_t>(captions.size()) != count) {
      return damaged("no captions");
    }
    for (int64_t i = 0; i < count; ++i) {
      cache.seeds.push_back(static_cast<uint64_t>(seeds->second[i].item<int64_t>()));
      std::vector<std::string>& phrasings = cache.captions.emplace_back();
      for (const auto& text : captions[static_cast<size_t>(i)]) {
        if (!text.is_string()) return damaged("a caption is not text");
        phrasings.push_back(text.get<std::string>());
      }
      if (phrasings.empty()) return damaged("a person without a caption");
    }
    if (const auto text = file->metadata.find("edits"); text != file->metadata.end()) {
      const absl::Status status = ReadEdits(text->second, count, cache);
      if (!status.ok()) return damaged(std::string(status.message()));
    }
    filled += count;
  }
  if (cache.found.defined() && cache.found.size(2) != 1 + cache.lookalikes.size(2)) {
    return absl::InvalidArgumentError(
        absl::StrCat(folder, ": faces were looked for in pictures of ", cache.found.size(2) - 1,
                     " lookalikes, there are ", cache.lookalikes.size(2)));
  }
  if (!cache.edits.empty() && cache.edits.size() != cache.seeds.size()) {
    return absl::InvalidArgumentError(absl::StrCat(folder, ": some shards have no edits"));
  }
  if (max_people > 0) filled = std::min(filled, max_people);
  for (const auto& [name, target] : parts) *target = target->narrow(0, 0, filled);
  cache.seeds.resize(static_cast<size_t>(filled));
  cache.captions.resize(static_cast<size_t>(filled));
  if (!cache.edits.empty()) cache.edits.resize(static_cast<size_t>(filled));
  return cache;
}

Landmarks ToLandmarks(const torch::Tensor& frame) {
  const torch::Tensor values = frame.to(torch::kFloat32).contiguous();
  TORCH_CHECK(values.numel() == 3 * kNumLandmarks, "not a frame of landmarks");
  const float* p = values.data_ptr<float>();
  Landmarks landmarks;
  for (Point3& point : landmarks) {
    point = {p[0], p[1], p[2]};
    p += 3;
  }
  return landmarks;
}

void StoreLandmarks(const Landmarks& landmarks, torch::Tensor frame) {
  TORCH_CHECK(frame.numel() == 3 * kNumLandmarks && frame.is_contiguous(),
              "not a frame of landmarks");
  float* p = frame.data_ptr<float>();
  for (const Point3& point : landmarks) {
    *p++ = point.x;
    *p++ = point.y;
    *p++ = point.z;
  }
}

Image ToImage(const torch::Tensor& frame) {
  const torch::Tensor rgb = frame.permute({1, 2, 0}).contiguous();
  const auto* bytes = rgb.data_ptr<uint8_t>();
  Image image;
  image.width = static_cast<int>(rgb.size(1));
  image.height = static_cast<int>(rgb.size(0));
  image.rgb.assign(bytes, bytes + rgb.numel());
  return image;
}

}  // namespace reenact

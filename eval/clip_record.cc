#include "eval/clip_record.h"

#include <array>
#include <cstddef>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "eval/json_numbers.h"
#include "pipeline/media/image_codec.h"

namespace reenact {
namespace {

using Json = nlohmann::ordered_json;
using FrameMember = std::optional<double> FrameMeasures::*;
using ClipMember = std::optional<double> ClipMeasures::*;

constexpr std::array<std::pair<const char*, FrameMember>, 11> kFrameMembers = {
    {{"landmark_error", &FrameMeasures::landmark_error},
     {"lmse", &FrameMeasures::lmse},
     {"expressive_lmse", &FrameMeasures::expressive_lmse},
     {"psnr", &FrameMeasures::psnr},
     {"psnr_expressive", &FrameMeasures::psnr_expressive},
     {"ssim", &FrameMeasures::ssim},
     {"skin", &FrameMeasures::skin},
     {"hair", &FrameMeasures::hair},
     {"clothes", &FrameMeasures::clothes},
     {"inner_hair", &FrameMeasures::inner_hair},
     {"inner_clothes", &FrameMeasures::inner_clothes}}};

constexpr std::array<std::pair<const char*, ClipMember>, 7> kClipMembers = {
    {{"self_csim", &ClipMeasures::self_csim},
     {"leak", &ClipMeasures::leak},
     {"less_alike", &ClipMeasures::less_alike},
     {"likeness", &ClipMeasures::likeness},
     {"jitter", &ClipMeasures::jitter},
     {"driving_jitter", &ClipMeasures::driving_jitter},
     {"flicker", &ClipMeasures::flicker}}};

Json ToJson(const FaceReading& face) {
  Json json = Json::array();
  for (const double value : {face.angles.yaw, face.angles.pitch, face.angles.roll, face.mouth_gap,
                             face.eye_opening, face.gaze_x}) {
    json.push_back(NumberToJson(std::optional<double>(value)));
  }
  return json;
}

FaceReading FaceReadingFrom(const Json& json) {
  const auto at = [&](size_t i) { return NumberFrom(json.at(i)).value(); };
  return {{at(0), at(1), at(2)}, at(3), at(4), at(5)};
}

Json ToJson(const FrameMeasures& frame) {
  Json json;
  if (frame.found.has_value()) json["found"] = ToJson(*frame.found);
  json["truth"] = ToJson(frame.truth);
  for (const auto& [name, member] : kFrameMembers) {
    if ((frame.*member).has_value()) json[name] = NumberToJson(frame.*member);
  }
  return json;
}

FrameMeasures FrameMeasuresFrom(const Json& json) {
  FrameMeasures frame;
  if (json.contains("found")) frame.found = FaceReadingFrom(json.at("found"));
  frame.truth = FaceReadingFrom(json.at("truth"));
  for (const auto& [name, member] : kFrameMembers) {
    if (json.contains(name)) frame.*member = NumberFrom(json.at(name));
  }
  return frame;
}

Json ToJson(const ClipMeasures& clip) {
  Json json = {{"csim", NumberToJson(std::optional<double>(clip.csim))}};
  for (const auto& [name, member] : kClipMembers) {
    if ((clip.*member).has_value()) json[name] = NumberToJson(clip.*member);
  }
  json["frames"] = Json::array();
  for (const FrameMeasures& frame : clip.frames) json["frames"].push_back(ToJson(frame));
  json["embeddings"] = clip.embeddings;
  return json;
}

ClipMeasures ClipMeasuresFrom(const Json& json, int index) {
  ClipMeasures clip;
  clip.index = index;
  clip.csim = NumberFrom(json.at("csim")).value();
  for (const auto& [name, member] : kClipMembers) {
    if (json.contains(name)) clip.*member = NumberFrom(json.at(name));
  }
  for (const Json& frame : json.at("frames")) clip.frames.push_back(FrameMeasuresFrom(frame));
  clip.embeddings = json.at("embeddings").get<std::vector<Embedding>>();
  return clip;
}

absl::StatusOr<ClipOutcome> OutcomeFrom(const Json& json, int index) {
  ClipOutcome outcome;
  if (json.contains("measures")) outcome.measures = ClipMeasuresFrom(json.at("measures"), index);
  if (json.contains("failure")) outcome.failure = json.at("failure").get<std::string>();
  if (!json.contains("sample")) return outcome;
  std::string png;
  if (!absl::Base64Unescape(json.at("sample").get<std::string>(), &png)) {
    return absl::InvalidArgumentError("its sample is not base64");
  }
  auto sample = DecodeImage(png);
  if (!sample.ok()) return sample.status();
  outcome.sample = *std::move(sample);
  return outcome;
}

}  // namespace

absl::StatusOr<std::string> ToLine(const ClipRecord& record) {
  Json json = {{"clip", record.index}};
  json["outcomes"] = Json::array();
  for (const ClipOutcome& outcome : record.outcomes) {
    Json entry = Json::object();
    if (outcome.measures.has_value()) entry["measures"] = ToJson(*outcome.measures);
    if (!outcome.failure.empty()) entry["failure"] = outcome.failure;
    if (!outcome.sample.empty()) {
      const auto png = EncodePng(outcome.sample);
      if (!png.ok()) return png.status();
      entry["sample"] = absl::Base64Escape(*png);
    }
    json["outcomes"].push_back(std::move(entry));
  }
  json["true_frames"] = record.true_frames;
  // What a message quotes of a file may be no UTF-8.
  return json.dump(-1, ' ', false, Json::error_handler_t::replace);
}

absl::StatusOr<ClipRecord> ClipRecordFromLine(absl::string_view line) {
  try {
    const Json json = Json::parse(line);
    ClipRecord record;
    record.index = json.at("clip").get<int>();
    for (const Json& entry : json.at("outcomes")) {
      auto outcome = OutcomeFrom(entry, record.index);
      if (!outcome.ok()) return outcome.status();
      record.outcomes.push_back(*std::move(outcome));
    }
    record.true_frames = json.at("true_frames").get<std::vector<Embedding>>();
    return record;
  } catch (const Json::exception& error) {
    return absl::InvalidArgumentError(error.what());
  } catch (const std::bad_optional_access&) {
    return absl::InvalidArgumentError("a number is missing");
  }
}

}  // namespace reenact

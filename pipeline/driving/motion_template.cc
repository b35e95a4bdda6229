#include "pipeline/driving/motion_template.h"

#include <zlib.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"
#include "google/protobuf/stubs/logging.h"
#include "pipeline/face/roi.h"
#include "reenact/v1/motion_template.pb.h"

namespace reenact {
namespace {

constexpr std::string_view kMagic = "\x89RMOT\r\n\x1A";  // without a zero
constexpr uint32_t kVersion = 1;
constexpr size_t kPreambleBytes = kMagic.size() + sizeof(uint32_t);

constexpr char kHeader = 1, kSound = 2, kFrame = 3, kEnd = 4;

constexpr size_t kNumCoordinates = size_t{3} * kNumLandmarks;
constexpr int32_t kMaxPoint = 32767;
// Of a pose that is not fitted: room for rounding is left.
constexpr int32_t kPlainExtent = 32000;

// Messages that hold no sound; far above what a frame or a header takes.
constexpr size_t kMaxMessageBytes = size_t{4} << 20;
// Four hours of sound in packets of 7 ms.
constexpr size_t kMaxPackets = size_t{1} << 21;
constexpr int kMaxExtradataBytes = 1 << 20;
constexpr size_t kMaxNotes = 64;
constexpr size_t kMaxNoteBytes = 1000;
constexpr int kMaxBlendshapes = 256;
constexpr int kMaxSide = 65535;
constexpr int32_t kMaxTimeBase = 1'000'000'000;
constexpr int kMaxSampleRate = 768'000;
constexpr int kMaxPeople = 1'000'000;
// Ticks; sums and differences of such times do not overflow.
constexpr int64_t kFarTime = int64_t{1} << 60;
constexpr int64_t kLongestPacket = int64_t{1} << 31;
// A head may lie that far out of the picture, in picture widths, and be that large or small.
constexpr double kMaxPlace = 100;
constexpr double kMinScale = 1e-7, kMaxScale = 100;

absl::Status Invalid(const std::string& what) {
  return absl::InvalidArgumentError(absl::StrCat("motion template: ", what));
}

absl::Status TooMany(const char* what, size_t limit) {
  return absl::ResourceExhaustedError(
      absl::StrCat("motion template: it has more than ", limit, " ", what));
}

template <typename T>
absl::Status CheckRange(const std::string& field, T value, T min, T max) {
  if (value >= min && value <= max) return absl::OkStatus();  // NaN fails
  return Invalid(absl::StrCat(field, " is ", value, ", must be ", min, "..", max));
}

uint32_t Crc(uint32_t crc, std::string_view bytes) {
  while (!bytes.empty()) {
    const size_t size = std::min(bytes.size(), size_t{1} << 30);
    crc = static_cast<uint32_t>(
        crc32(crc, reinterpret_cast<const Bytef*>(bytes.data()), static_cast<uInt>(size)));
    bytes.remove_prefix(size);
  }
  return crc;
}

std::string LittleEndian(uint32_t value) {
  std::string bytes;
  for (int i = 0; i < 4; ++i) bytes.push_back(static_cast<char>(value >> (8 * i)));
  return bytes;
}

void AppendVarint(uint64_t value, std::string* out) {
  for (; value >= 0x80; value >>= 7) out->push_back(static_cast<char>(value | 0x80));
  out->push_back(static_cast<char>(value));
}

// Takes a varint from the front. False: there is none.
bool TakeVarint(std::string_view* bytes, uint64_t* value) {
  *value = 0;
  for (int shift = 0; shift < 63; shift += 7) {
    if (bytes->empty()) return false;
    const auto byte = static_cast<uint8_t>(bytes->front());
    bytes->remove_prefix(1);
    *value |= uint64_t{byte & 0x7Fu} << shift;
    if (byte < 0x80) return true;
  }
  return false;
}

// Landmarks with one unit on all axes, and back.
Landmarks Isotropic(Landmarks landmarks, double aspect) {
  for (Point3& p : landmarks) p.y = static_cast<float>(p.y * aspect);
  return landmarks;
}

// As the file has it.
HeadPose Rounded(const HeadPose& pose) {
  const auto single = [](double x) { return double{static_cast<float>(x)}; };
  return {.rotation = {single(pose.rotation.w), single(pose.rotation.x), single(pose.rotation.y),
                       single(pose.rotation.z)},
          .translation = {single(pose.translation.x), single(pose.translation.y),
                          single(pose.translation.z)},
          .scale = single(pose.scale)};
}

// In the middle of the points, upright, and so large that all of them can be written.
HeadPose PlainPose(const Landmarks& landmarks) {
  HeadPose pose;
  for (const Point3& p : landmarks) pose.translation += Vector3{p.x, p.y, p.z};
  pose.translation = pose.translation * (1.0 / kNumLandmarks);
  double extent = 0;
  for (const Point3& p : landmarks) {
    extent = std::max({extent, std::abs(p.x - pose.translation.x),
                       std::abs(p.y - pose.translation.y), std::abs(p.z - pose.translation.z)});
  }
  pose.scale = std::clamp(extent / (kPointStep * kPlainExtent), kMinScale, kMaxScale);
  return pose;
}

// In steps, x, y and z of each point. False: some could not be written as they are.
bool Quantise(const HeadShape& shape, std::vector<int32_t>* points) {
  points->clear();
  bool exact = true;
  for (const Vector3& p : shape) {
    for (const double x : {p.x, p.y, p.z}) {
      const double steps = std::nearbyint(x / kPointStep);
      exact = exact && std::abs(steps) <= kMaxPoint;
      points->push_back(static_cast<int32_t>(std::clamp<double>(steps, -kMaxPoint, kMaxPoint)));
    }
  }
  return exact;
}

HeadShape Shape(const std::vector<int32_t>& points, double step) {
  HeadShape shape;
  for (size_t i = 0; i < shape.size(); ++i) {
    shape[i] = {points[3 * i] * step, points[3 * i + 1] * step, points[3 * i + 2] * step};
  }
  return shape;
}

v1::MotionTemplateSound ToProto(const AudioTrack& track) {
  const AudioDescription description = DescribeAudio(track);
  v1::MotionTemplateSound sound;
  sound.set_codec(description.codec);
  sound.set_transcoded_from(track.transcoded_from);
  sound.set_sample_rate(description.sample_rate);
  sound.set_channel_layout(description.channel_layout);
  sound.set_sample_format(description.sample_format);
  sound.set_time_base_numerator(track.time_base_num);
  sound.set_time_base_denominator(track.time_base_den);
  sound.set_extradata(description.extradata);
  sound.set_bit_rate(description.bit_rate);
  sound.set_bits_per_coded_sample(description.bits_per_coded_sample);
  sound.set_bits_per_raw_sample(description.bits_per_raw_sample);
  sound.set_profile(description.profile);
  sound.set_level(description.level);
  sound.set_block_align(description.block_align);
  sound.set_frame_size(description.frame_size);
  sound.set_initial_padding(description.initial_padding);
  sound.set_trailing_padding(description.trailing_padding);
  sound.set_seek_preroll(description.seek_preroll);
  return sound;
}

AudioDescription ToDescription(const v1::MotionTemplateSound& sound) {
  AudioDescription description;
  description.codec = sound.codec();
  description.channel_layout = sound.channel_layout();
  description.sample_format = sound.sample_format();
  description.extradata = sound.extradata();
  description.bit_rate = sound.bit_rate();
  description.sample_rate = sound.sample_rate();
  description.bits_per_coded_sample = sound.bits_per_coded_sample();
  description.bits_per_raw_sample = sound.bits_per_raw_sample();
  description.profile = sound.profile();
  description.level = sound.level();
  description.block_align = sound.block_align();
  description.frame_size = sound.frame_size();
  description.initial_padding = sound.initial_padding();
  description.trailing_padding = sound.trailing_padding();
  description.seek_preroll = sound.seek_preroll();
  return description;
}

absl::Status Check(const v1::MotionTemplateSound& sound) {
  constexpr int32_t kAny = 1 << 30;
  for (const absl::Status& status :
       {CheckRange("sound.sample_rate", sound.sample_rate(), 1, kMaxSampleRate),
        CheckRange("sound.time_base_numerator", sound.time_base_numerator(), 1, kMaxTimeBase),
        CheckRange("sound.time_base_denominator", sound.time_base_denominator(), 1, kMaxTimeBase),
        CheckRange("the size of sound.extradata", static_cast<int>(sound.extradata().size()), 0,
                   kMaxExtradataBytes),
        CheckRange("sound.bit_rate", sound.bit_rate(), int64_t{0}, int64_t{1} << 40),
        CheckRange("sound.bits_per_coded_sample", sound.bits_per_coded_sample(), 0, 64),
        CheckRange("sound.bits_per_raw_sample", sound.bits_per_raw_sample(), 0, 64),
        CheckRange("sound.profile", sound.profile(), -kAny, kAny),
        CheckRange("sound.level", sound.level(), -kAny, kAny),
        CheckRange("sound.block_align", sound.block_align(), 0, kAny),
        CheckRange("sound.frame_size", sound.frame_size(), 0, kAny),
        CheckRange("sound.initial_padding", sound.initial_padding(), 0, kAny),
        CheckRange("sound.trailing_padding", sound.trailing_padding(), 0, kAny),
        CheckRange("sound.seek_preroll", sound.seek_preroll(), 0, kAny)}) {
    if (!status.ok()) return status;
  }
  return absl::OkStatus();
}

bool Parse(std::string_view bytes, google::protobuf::MessageLite* message) {
  // Strangers' bytes do not write the log.
  const google::protobuf::LogSilencer silence;
  return message->ParseFromArray(bytes.data(), static_cast<int>(bytes.size()));
}

}  // namespace

void MotionTemplateWriter::Append(char kind, const std::string& message, std::string* out) {
  const size_t begin = out->size();
  out->push_back(kind);
  AppendVarint(message.size(), out);
  out->append(message);
  crc_ = Crc(crc_, std::string_view(*out).substr(begin));
}

double MotionTemplateWriter::Seconds(int64_t pts) const {
  return static_cast<double>(pts) * info_.time_base_num / info_.time_base_den;
}

void MotionTemplateWriter::Begin(const MotionTemplateInfo& info, const AudioTrack* sound,
                                 std::string* out) {
  info_ = info;
  v1::MotionTemplateHeader header;
  header.set_time_base_numerator(info.time_base_num);
  header.set_time_base_denominator(info.time_base_den);
  header.set_width(info.width);
  header.set_height(info.height);
  if (info.frame_rate_num > 0) {
    header.set_frame_rate_numerator(info.frame_rate_num);
    header.set_frame_rate_denominator(info.frame_rate_den);
  }
  header.set_frames_hint(info.num_frames_hint);
  header.set_duration_seconds(info.duration_seconds);
  header.set_landmark_model_sha256(info.landmark_model_sha256);
  header.set_point_step(kPointStep);
  for (const std::string& name : info.blendshape_names) header.add_blendshape_names(name);
  if (sound != nullptr) *header.mutable_sound() = ToProto(*sound);
  const std::string preamble = std::string(kMagic) + LittleEndian(kVersion);
  crc_ = Crc(0, preamble);
  out->append(preamble);
  Append(kHeader, header.SerializeAsString(), out);
}

void MotionTemplateWriter::AddSound(const AudioPacket& packet, std::string* out) {
  v1::MotionTemplateAudio message;
  message.set_data(packet.data);
  message.set_pts(packet.pts);
  message.set_dts(packet.dts);
  message.set_duration(packet.duration);
  Append(kSound, message.SerializeAsString(), out);
  ++num_packets_;
}

void MotionTemplateWriter::AddFrame(const MotionTemplateFrame& frame, std::string* out) {
  v1::MotionTemplateFrame message;
  message.set_pts(frame.pts);
  message.set_duration(frame.duration);
  message.set_cut(frame.cut);
  message.set_person(frame.face.person);
  if (frame.face.landmarks.has_value()) {
    const Landmarks landmarks =
        Isotropic(*frame.face.landmarks, static_cast<double>(info_.height) / info_.width);
    const std::optional<HeadPose> fitted = FitHeadPose(landmarks);
    HeadPose pose = Rounded(fitted.value_or(PlainPose(landmarks)));
    Points points;
    if (!Quantise(ToHead(landmarks, pose), &points)) {
      pose = Rounded(PlainPose(landmarks));
      Quantise(ToHead(landmarks, pose), &points);
    }
    v1::MotionTemplateFace& face = *message.mutable_face();
    face.set_confidence(frame.face.confidence);
    face.set_rotation_w(static_cast<float>(pose.rotation.w));
    face.set_rotation_x(static_cast<float>(pose.rotation.x));
    face.set_rotation_y(static_cast<float>(pose.rotation.y));
    face.set_rotation_z(static_cast<float>(pose.rotation.z));
    face.set_place_x(static_cast<float>(pose.translation.x));
    face.set_place_y(static_cast<float>(pose.translation.y));
    face.set_place_z(static_cast<float>(pose.translation.z));
    face.set_scale(static_cast<float>(pose.scale));
    for (size_t i = 0; i < kNumCoordinates; ++i) face.add_points(points[i] - last_[i]);
    for (const float score : frame.blendshapes) {
      face.mutable_blendshapes()->push_back(
          static_cast<char>(std::lround(std::clamp(score, 0.0f, 1.0f) * 255)));
    }
    last_ = std::move(points);
    neutral_.Observe(landmarks, Seconds(frame.pts));
    ++num_faces_;
  }
  Append(kFrame, message.SerializeAsString(), out);
  ++num_frames_;
}

void MotionTemplateWriter::Finish(const std::vector<std::string>& notes, std::string* out) {
  v1::MotionTemplateEnd message;
  message.set_frames(num_frames_);
  message.set_frames_with_face(num_faces_);
  message.set_audio_packets(num_packets_);
  message.set_crc32(crc_);
  Points rest;
  if (neutral_.has_neutral() && Quantise(neutral_.neutral().shape, &rest)) {
    for (const int32_t x : rest) message.add_rest(x);
  }
  for (const std::string& note : notes) {
    if (message.notes_size() < static_cast<int>(kMaxNotes) && note.size() <= kMaxNoteBytes) {
      message.add_notes(note);
    }
  }
  Append(kEnd, message.SerializeAsString(), out);
}

bool LooksLikeMotionTemplate(std::string_view bytes) { return bytes.starts_with(kMagic); }

absl::StatusOr<std::unique_ptr<MotionTemplateReader>> MotionTemplateReader::Open(
    std::string bytes, const Limits& limits) {
  std::unique_ptr<MotionTemplateReader> reader(new MotionTemplateReader(std::move(bytes)));
  if (auto status = reader->Index(limits); !status.ok()) return status;
  if (auto status = reader->ReadEnd(); !status.ok()) return status;
  if (auto status = reader->ReadHeader(limits); !status.ok()) return status;
  return reader;
}

absl::Status MotionTemplateReader::Index(const Limits& limits) {
  std::string_view rest = bytes_;
  if (!LooksLikeMotionTemplate(rest)) return Invalid("it is none");
  const auto cut_off = [this] {
    return Invalid(absl::StrCat("it is cut off after ", frames_.size(), " frames"));
  };
  if (rest.size() < kPreambleBytes) return cut_off();
  if (rest.substr(kMagic.size(), sizeof(uint32_t)) != LittleEndian(kVersion)) {
    uint32_t version = 0;
    for (size_t i = sizeof(uint32_t); i-- > 0;) {
      version = version << 8 | static_cast<uint8_t>(rest[kMagic.size() + i]);
    }
    return Invalid(absl::StrCat("version is ", version, ", must be ", kVersion));
  }
  rest.remove_prefix(kPreambleBytes);
  bool first = true;
  while (true) {
    if (rest.empty()) return cut_off();
    const size_t begin = bytes_.size() - rest.size();
    const char kind = rest.front();
    rest.remove_prefix(1);
    uint64_t size = 0;
    if (!TakeVarint(&rest, &size) || size > rest.size()) return cut_off();
    const Record record = {bytes_.size() - rest.size(), static_cast<size_t>(size)};
    rest.remove_prefix(record.size);
    const auto where = [&] { return absl::StrCat("the record at byte ", begin); };
    if ((kind == kHeader) != first) {
      return Invalid(
          absl::StrCat(where(), first ? " is the first and no header" : " is a second header"));
    }
    first = false;
    // Sizes are `int`s to protobuf.
    if (record.size > (kind == kSound ? size_t{INT32_MAX} : kMaxMessageBytes)) {
      return Invalid(absl::StrCat(where(), " has ", record.size, " bytes, must have at most ",
                                  kMaxMessageBytes));
    }
    switch (kind) {
      case kHeader:
        header_ = record;
        break;
      case kSound:
        if (packets_.size() == kMaxPackets) return TooMany("audio packets", kMaxPackets);
        packets_.push_back(record);
        break;
      case kFrame:
        if (frames_.size() == static_cast<size_t>(std::max(limits.max_frames, 0))) {
          return TooMany("frames", frames_.size());
        }
        frames_.push_back(record);
        break;
      case kEnd:
        end_ = record;
        end_begin_ = begin;
        if (!rest.empty()) {
          return Invalid(absl::StrCat(rest.size(), " bytes follow its end"));
        }
        return absl::OkStatus();
      default:
        return Invalid(absl::StrCat(where(), " has the kind ", static_cast<uint8_t>(kind),
                                    ", must have 1..4"));
    }
  }
}

absl::Status MotionTemplateReader::ReadEnd() {
  v1::MotionTemplateEnd end;
  if (!Parse(Message(end_), &end)) return Invalid("its end is damaged");
  const uint32_t crc = Crc(0, std::string_view(bytes_).substr(0, end_begin_));
  if (end.crc32() != crc) {
    return Invalid(absl::StrCat("it is damaged: crc32 is ", end.crc32(), ", must be ", crc));
  }
  const auto count = [](const char* field, int64_t value, size_t there) -> absl::Status {
    if (value == static_cast<int64_t>(there)) return absl::OkStatus();
    return Invalid(absl::StrCat("end.", field, " is ", value, ", but there are ", there));
  };
  for (const absl::Status& status :
       {count("frames", end.frames(), frames_.size()),
        count("audio_packets", end.audio_packets(), packets_.size()),
        CheckRange("end.frames_with_face", end.frames_with_face(), int64_t{0}, end.frames())}) {
    if (!status.ok()) return status;
  }
  if (end.rest_size() != 0) {
    if (end.rest_size() != static_cast<int>(kNumCoordinates)) {
      return Invalid(absl::StrCat("end.rest has ", end.rest_size(), " numbers, must have ",
                                  kNumCoordinates, " or none"));
    }
    for (const int32_t x : end.rest()) {
      if (auto status = CheckRange("end.rest", x, -kMaxPoint, kMaxPoint); !status.ok()) {
        return status;
      }
    }
    rest_ = Shape({end.rest().begin(), end.rest().end()}, 1);  // times the step, later
  }
  if (end.notes_size() > static_cast<int>(kMaxNotes)) {
    return Invalid(absl::StrCat("end.notes has ", end.notes_size(), " entries, must have at most ",
                                kMaxNotes));
  }
  for (const std::string& note : end.notes()) {
    if (note.size() > kMaxNoteBytes) {
      return Invalid(absl::StrCat("end.notes has an entry of ", note.size(),
                                  " bytes, must be at most ", kMaxNoteBytes));
    }
    notes_.push_back(note);
  }
  num_frames_ = end.frames();
  num_faces_ = end.frames_with_face();
  return absl::OkStatus();
}

absl::Status MotionTemplateReader::ReadHeader(const Limits& limits) {
  v1::MotionTemplateHeader header;
  if (!Parse(Message(header_), &header)) return Invalid("its header is damaged");
  for (const absl::Status& status :
       {CheckRange("time_base_numerator", header.time_base_numerator(), 1, kMaxTimeBase),
        CheckRange("time_base_denominator", header.time_base_denominator(), 1, kMaxTimeBase),
        CheckRange("width", header.width(), 1, kMaxSide),
        CheckRange("height", header.height(), 1, kMaxSide),
        CheckRange("frame_rate_numerator", header.frame_rate_numerator(), 0, INT32_MAX),
        CheckRange("frame_rate_denominator", header.frame_rate_denominator(),
                   header.frame_rate_numerator() > 0 ? 1 : 0, INT32_MAX),
        CheckRange("point_step", header.point_step(), 1e-9, 0.1),
        CheckRange("the number of blendshape_names", header.blendshape_names_size(), 0,
                   kMaxBlendshapes)}) {
    if (!status.ok()) return status;
  }
  if (num_frames_ == 0) return Invalid("it has no frames");
  info_.width = header.width();
  info_.height = header.height();
  info_.time_base_num = header.time_base_numerator();
  info_.time_base_den = header.time_base_denominator();
  info_.frame_rate_num = header.frame_rate_numerator();
  info_.frame_rate_den = std::max(header.frame_rate_denominator(), 1);
  info_.num_frames_hint = num_frames_;
  info_.duration_seconds = std::isfinite(header.duration_seconds()) ? header.duration_seconds() : 0;
  info_.landmark_model_sha256 = header.landmark_model_sha256();
  info_.blendshape_names = {header.blendshape_names().begin(), header.blendshape_names().end()};
  max_seconds_ = limits.max_duration_seconds;
  step_ = header.point_step();
  if (rest_.has_value()) {
    for (Vector3& p : *rest_) p = p * step_;
  }
  if (!header.has_sound()) {
    if (packets_.empty()) return absl::OkStatus();
    return Invalid(absl::StrCat("sound is not set, but there are ", packets_.size(), " packets"));
  }
  if (auto status = Check(header.sound()); !status.ok()) return status;
  sound_.emplace();
  sound_->description = ToDescription(header.sound());
  sound_->track.transcoded_from = header.sound().transcoded_from();
  sound_->track.time_base_num = header.sound().time_base_numerator();
  sound_->track.time_base_den = header.sound().time_base_denominator();
  return absl::OkStatus();
}

absl::StatusOr<AudioTrack> MotionTemplateReader::ReadSound() const {
  if (!sound_.has_value() || packets_.empty()) return AudioTrack();
  AudioTrack track = sound_->track;
  track.packets.reserve(packets_.size());
  for (const Record& record : packets_) {
    const auto field = [&track](const char* name) {
      return absl::StrCat("audio packet ", track.packets.size(), ": ", name);
    };
    v1::MotionTemplateAudio message;
    if (!Parse(Message(record), &message)) {
      return Invalid(absl::StrCat("audio packet ", track.packets.size(), " is damaged"));
    }
    const int64_t earliest = track.packets.empty() ? -kFarTime : track.packets.back().dts + 1;
    for (const absl::Status& status :
         {CheckRange(field("dts"), int64_t{message.dts()}, earliest, kFarTime),
          CheckRange(field("pts"), int64_t{message.pts()}, int64_t{message.dts()}, kFarTime),
          CheckRange(field("duration"), int64_t{message.duration()}, int64_t{0}, kLongestPacket),
          CheckRange(field("size of data"), message.data().size(), size_t{1}, size_t{1} << 28)}) {
      if (!status.ok()) return status;
    }
    track.packets.push_back(
        {std::move(*message.mutable_data()), message.pts(), message.dts(), message.duration()});
  }
  if (auto status = RestoreAudio(sound_->description, &track); !status.ok()) {
    return absl::Status(status.code(), absl::StrCat("motion template: ", status.message()));
  }
  return track;
}

absl::StatusOr<std::optional<MotionTemplateFrame>> MotionTemplateReader::Next() {
  if (!failed_.ok()) return failed_;
  if (next_ == frames_.size()) {
    if (faces_read_ != num_faces_) {
      return failed_ = Invalid(absl::StrCat("end.frames_with_face is ", num_faces_,
                                            ", but there are ", faces_read_));
    }
    return std::nullopt;
  }
  auto frame = ReadFrame(Message(frames_[next_]));
  if (!frame.ok()) return failed_ = frame.status();
  ++next_;
  return std::optional<MotionTemplateFrame>(*std::move(frame));
}

absl::StatusOr<MotionTemplateFrame> MotionTemplateReader::ReadFrame(std::string_view bytes) {
  const auto name = [this](const char* field) {
    return absl::StrCat("frame ", next_, ": ", field);
  };
  v1::MotionTemplateFrame message;
  if (!Parse(bytes, &message)) return Invalid(absl::StrCat("frame ", next_, " is damaged"));
  const int64_t pts = message.pts(), duration = message.duration();
  if (next_pts_.has_value() && pts != *next_pts_) {
    return Invalid(absl::StrCat(name("pts"), " is ", pts, ", must be ", *next_pts_,
                                ", where the frame before ends"));
  }
  for (const absl::Status& status :
       {CheckRange(name("pts"), pts, -kFarTime, kFarTime),
        CheckRange(name("duration"), duration, int64_t{1}, kFarTime / 2),
        CheckRange(name("person"), message.person(), 0, kMaxPeople)}) {
    if (!status.ok()) return status;
  }
  if (!first_pts_.has_value()) first_pts_ = pts;
  next_pts_ = pts + duration;
  const double seconds =
      static_cast<double>(pts - *first_pts_) * info_.time_base_num / info_.time_base_den;
  if (seconds > max_seconds_) {
    return absl::ResourceExhaustedError(absl::StrCat("motion template: it lasts ", seconds,
                                                     " seconds; at most ", max_seconds_,
                                                     " are accepted"));
  }
  MotionTemplateFrame frame;
  frame.pts = pts;
  frame.duration = duration;
  frame.cut = message.cut();
  frame.face.person = message.person();
  if (!message.has_face()) return frame;

  const v1::MotionTemplateFace& face = message.face();
  const double length = std::hypot(std::hypot(face.rotation_w(), face.rotation_x()),
                                   std::hypot(face.rotation_y(), face.rotation_z()));
  for (const absl::Status& status :
       {CheckRange(name("face.confidence"), face.confidence(), 0.5f, 1.0f),
        CheckRange(name("the length of face.rotation"), length, 0.999, 1.001),
        CheckRange<double>(name("face.place_x"), face.place_x(), -kMaxPlace, kMaxPlace),
        CheckRange<double>(name("face.place_y"), face.place_y(), -kMaxPlace, kMaxPlace),
        CheckRange<double>(name("face.place_z"), face.place_z(), -kMaxPlace, kMaxPlace),
        CheckRange<double>(name("face.scale"), face.scale(), kMinScale, kMaxScale)}) {
    if (!status.ok()) return status;
  }
  if (face.points_size() != static_cast<int>(kNumCoordinates)) {
    return Invalid(absl::StrCat(name("face.points"), " has ", face.points_size(),
                                " numbers, must have ", kNumCoordinates));
  }
  for (size_t i = 0; i < kNumCoordinates; ++i) {
    const int64_t point = int64_t{last_[i]} + face.points(static_cast<int>(i));
    if (std::abs(point) > kMaxPoint) {
      return CheckRange(name("face.points, summed up,"), point, int64_t{-kMaxPoint},
                        int64_t{kMaxPoint});
    }
    last_[i] = static_cast<int32_t>(point);
  }
  if (face.blendshapes().size() != info_.blendshape_names.size()) {
    return Invalid(absl::StrCat(name("face.blendshapes"), " has ", face.blendshapes().size(),
                                " numbers, must have ", info_.blendshape_names.size()));
  }
  for (const char score : face.blendshapes()) {
    frame.blendshapes.push_back(static_cast<float>(static_cast<uint8_t>(score)) / 255);
  }
  const HeadPose pose = {
      .rotation = {face.rotation_w(), face.rotation_x(), face.rotation_y(), face.rotation_z()},
      .translation = {face.place_x(), face.place_y(), face.place_z()},
      .scale = face.scale()};
  frame.face.landmarks = Isotropic(ToPicture(Shape(last_, step_), pose),
                                   static_cast<double>(info_.width) / info_.height);
  frame.face.confidence = face.confidence();
  frame.face.box = BoxOf(*frame.face.landmarks);
  frame.face.likeness = 1;
  ++faces_read_;
  return frame;
}

}  // namespace reenact

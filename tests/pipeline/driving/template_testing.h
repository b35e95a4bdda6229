// Motion templates made on the spot, whole and spoilt.
#pragma once

#include <zlib.h>

#include <cmath>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "pipeline/driving/motion_template.h"
#include "pipeline/face/head_pose.h"
#include "pipeline/face/roi.h"
#include "reenact/v1/motion_template.pb.h"

namespace reenact::testing {

inline MotionTemplateInfo TestInfo() {
  MotionTemplateInfo info;
  info.width = 640;
  info.height = 360;
  info.time_base_num = 1;
  info.time_base_den = 12800;
  info.frame_rate_num = 25;
  info.frame_rate_den = 1;
  info.landmark_model_sha256 = std::string(64, 'a');
  info.blendshape_names = {"jawOpen", "mouthClose"};
  return info;
}

// A head of 200 pixels that turns and talks in a picture of TestInfo's size.
inline Landmarks TurningFace(int frame) {
  HeadShape shape = CanonicalShape();
  const double t = frame * 0.2;
  for (size_t i = 0; i < shape.size(); ++i) {
    // What a network's noise does.
    shape[i].x += 0.03 * std::sin(12.9 * static_cast<double>(i) + 78.2 * t);
    shape[i].y += 0.03 * std::sin(39.3 * static_cast<double>(i) + 11.1 * t);
    if (shape[i].y < -4) shape[i].y -= 0.5 * (1 + std::sin(t));
  }
  const HeadPose pose = {.rotation = RotationOf({20 * std::sin(t), 5, 8 * std::cos(t)}),
                         .translation = {0.45 + 0.05 * std::sin(t), 0.3, 0.01},
                         .scale = 200.0 / 640 / 18};
  Landmarks landmarks = ToPicture(shape, pose);
  for (Point3& p : landmarks) p.y *= 640.0f / 360;
  return landmarks;
}

// Frames of 512 and 1024 ticks; the face is lost in every seventh.
inline std::vector<MotionTemplateFrame> TestFrames(int count) {
  std::vector<MotionTemplateFrame> frames;
  int64_t pts = -256;
  for (int i = 0; i < count; ++i) {
    MotionTemplateFrame frame;
    frame.pts = pts;
    frame.duration = i % 3 == 0 ? 1024 : 512;
    frame.cut = i % 5 == 4;
    frame.face.person = i / 5;
    if (i % 7 != 6) {
      frame.face.landmarks = TurningFace(i);
      frame.face.confidence = 0.75f + 0.001f * static_cast<float>(i % 100);
      frame.face.box = BoxOf(*frame.face.landmarks);
      frame.blendshapes = {0.25f, 1.0f};
    }
    pts += frame.duration;
    frames.push_back(frame);
  }
  return frames;
}

inline std::string WriteTemplate(const MotionTemplateInfo& info,
                                 const std::vector<MotionTemplateFrame>& frames,
                                 const AudioTrack* sound = nullptr,
                                 const std::vector<std::string>& notes = {}) {
  MotionTemplateWriter writer;
  std::string bytes;
  writer.Begin(info, sound, &bytes);
  if (sound != nullptr) {
    for (const AudioPacket& packet : sound->packets) writer.AddSound(packet, &bytes);
  }
  for (const MotionTemplateFrame& frame : frames) writer.AddFrame(frame, &bytes);
  writer.Finish(notes, &bytes);
  return bytes;
}

// A template taken apart by the words of motion_template.proto, to be spoilt and put together
// again with the right checksum.
struct RawTemplate {
  v1::MotionTemplateHeader header;
  std::vector<v1::MotionTemplateAudio> sound;
  std::vector<v1::MotionTemplateFrame> frames;
  v1::MotionTemplateEnd end;

  explicit RawTemplate(std::string_view bytes) {
    bytes.remove_prefix(12);
    while (!bytes.empty()) {
      const char kind = bytes[0];
      size_t size = 0, at = 1;
      for (int shift = 0;; shift += 7) {
        const auto byte = static_cast<uint8_t>(bytes[at++]);
        size |= size_t{byte & 0x7Fu} << shift;
        if (byte < 0x80) break;
      }
      const std::string message(bytes.substr(at, size));
      if (kind == 1) header.ParseFromString(message);
      if (kind == 2) sound.emplace_back().ParseFromString(message);
      if (kind == 3) frames.emplace_back().ParseFromString(message);
      if (kind == 4) end.ParseFromString(message);
      bytes.remove_prefix(at + size);
    }
  }

  static void Append(char kind, const std::string& message, std::string* bytes) {
    bytes->push_back(kind);
    size_t size = message.size();
    for (; size >= 0x80; size >>= 7) bytes->push_back(static_cast<char>(size | 0x80));
    bytes->push_back(static_cast<char>(size));
    bytes->append(message);
  }

  std::string Bytes() const {
    std::string bytes("\x89RMOT\r\n\x1A\x01\0\0\0", 12);
    Append(1, header.SerializeAsString(), &bytes);
    for (const auto& packet : sound) Append(2, packet.SerializeAsString(), &bytes);
    for (const auto& frame : frames) Append(3, frame.SerializeAsString(), &bytes);
    v1::MotionTemplateEnd last = end;
    last.set_crc32(static_cast<uint32_t>(
        crc32(0, reinterpret_cast<const Bytef*>(bytes.data()), static_cast<uInt>(bytes.size()))));
    Append(4, last.SerializeAsString(), &bytes);
    return bytes;
  }
};

}  // namespace reenact::testing

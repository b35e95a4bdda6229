#include "training/event_log.h"

#include <unistd.h>

#include <array>
#include <filesystem>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "training/tensorboard_event.pb.h"

namespace reenact {
namespace {

constexpr std::array<uint32_t, 256> MakeTable() {
  std::array<uint32_t, 256> table{};
  for (uint32_t i = 0; i < 256; ++i) {
    uint32_t crc = i;
    for (int bit = 0; bit < 8; ++bit) crc = (crc >> 1) ^ ((crc & 1) != 0 ? 0x82F63B78u : 0u);
    table[i] = crc;
  }
  return table;
}

constexpr std::array<uint32_t, 256> kTable = MakeTable();

std::string LittleEndian(uint64_t value, int bytes) {
  std::string text;
  for (int i = 0; i < bytes; ++i) text.push_back(static_cast<char>((value >> (8 * i)) & 0xFF));
  return text;
}

tensorboard::Event NewEvent(int64_t step) {
  tensorboard::Event event;
  event.set_wall_time(absl::ToDoubleSeconds(absl::Now() - absl::UnixEpoch()));
  event.set_step(step);
  return event;
}

}  // namespace

uint32_t Crc32c(std::string_view bytes) {
  uint32_t crc = ~0u;
  for (const char c : bytes) crc = (crc >> 8) ^ kTable[(crc ^ static_cast<uint8_t>(c)) & 0xFF];
  return ~crc;
}

uint32_t MaskedCrc32c(std::string_view bytes) {
  const uint32_t crc = Crc32c(bytes);
  return ((crc >> 15) | (crc << 17)) + 0xA282EAD8u;
}

absl::StatusOr<std::unique_ptr<EventLog>> EventLog::Create(const std::string& folder,
                                                           int64_t first_step) {
  const std::string stem = absl::StrFormat("%s/events.out.tfevents.%010d.%d", folder,
                                           absl::ToUnixSeconds(absl::Now()), getpid());
  std::string path;
  // Two starts may fall into one second; the names sort in the order of the starts.
  for (int i = 0; path.empty() || std::filesystem::exists(path); ++i) {
    path = absl::StrFormat("%s.%03d", stem, i);
  }
  std::ofstream out(path, std::ios::binary);
  std::unique_ptr<EventLog> log(new EventLog(path, std::move(out)));
  tensorboard::Event version = NewEvent(0);
  version.set_file_version("brain.Event:2");
  absl::Status status = log->Append(version.SerializeAsString());
  if (status.ok() && first_step > 0) {
    tensorboard::Event start = NewEvent(first_step);
    start.mutable_session_log()->set_status(tensorboard::SessionLog::START);
    status = log->Append(start.SerializeAsString());
  }
  if (!status.ok()) return status;
  return log;
}

absl::Status EventLog::Scalar(const std::string& tag, int64_t step, double value) {
  tensorboard::Event event = NewEvent(step);
  tensorboard::Summary::Value* entry = event.mutable_summary()->add_value();
  entry->set_tag(tag);
  entry->set_simple_value(static_cast<float>(value));
  return Append(event.SerializeAsString());
}

absl::Status EventLog::Picture(const std::string& tag, int64_t step, const std::string& png,
                               int width, int height) {
  tensorboard::Event event = NewEvent(step);
  tensorboard::Summary::Value* entry = event.mutable_summary()->add_value();
  entry->set_tag(tag);
  entry->mutable_image()->set_width(width);
  entry->mutable_image()->set_height(height);
  entry->mutable_image()->set_colorspace(3);
  entry->mutable_image()->set_encoded_image_string(png);
  return Append(event.SerializeAsString());
}

absl::Status EventLog::Append(const std::string& event) {
  const std::string length = LittleEndian(event.size(), 8);
  out_ << length << LittleEndian(MaskedCrc32c(length), 4) << event
       << LittleEndian(MaskedCrc32c(event), 4) << std::flush;
  if (!out_) return absl::UnavailableError(absl::StrCat("cannot write ", path_));
  return absl::OkStatus();
}

}  // namespace reenact

#include "training/event_log.h"

#include "tests/training/tiny_data.h"
#include "training/tensorboard_event.pb.h"

namespace reenact {
namespace {

uint64_t LittleEndian(const std::string& bytes) {
  uint64_t value = 0;
  for (size_t i = bytes.size(); i-- > 0;) value = value << 8 | static_cast<uint8_t>(bytes[i]);
  return value;
}

// Reads a file as TensorBoard does, checking every checksum.
std::vector<tensorboard::Event> ReadEvents(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  std::ostringstream all;
  all << in.rdbuf();
  const std::string bytes = all.str();
  std::vector<tensorboard::Event> events;
  size_t at = 0;
  while (at < bytes.size()) {
    const std::string length = bytes.substr(at, 8);
    const size_t size = LittleEndian(length);
    EXPECT_LE(at + 16 + size, bytes.size());
    if (at + 16 + size > bytes.size()) break;
    EXPECT_EQ(LittleEndian(bytes.substr(at + 8, 4)), MaskedCrc32c(length));
    const std::string body = bytes.substr(at + 12, size);
    EXPECT_EQ(LittleEndian(bytes.substr(at + 12 + size, 4)), MaskedCrc32c(body));
    EXPECT_TRUE(events.emplace_back().ParseFromString(body));
    at += 16 + size;
  }
  return events;
}

TEST(Crc32cTest, IsCastagnolis) {
  EXPECT_EQ(Crc32c(""), 0u);
  // The check value of every CRC catalogue, and RFC 3720's 32 zeros.
  EXPECT_EQ(Crc32c("123456789"), 0xE3069283u);
  EXPECT_EQ(Crc32c(std::string(32, '\0')), 0x8A9136AAu);
  // rotate right by 15, then add.
  EXPECT_EQ(MaskedCrc32c(""), 0xA282EAD8u);
}

TEST(EventLogTest, IsReadBack) {
  const std::string folder = testing::FreshFolder();
  auto log = EventLog::Create(folder, 0);
  ASSERT_TRUE(log.ok()) << log.status();
  ASSERT_TRUE((*log)->Scalar("loss", 50, 0.25).ok());
  ASSERT_TRUE((*log)->Picture("samples", 60, "png bytes", 12, 8).ok());

  const auto events = ReadEvents((*log)->path());

  ASSERT_EQ(events.size(), 3u);
  EXPECT_EQ(events[0].file_version(), "brain.Event:2");
  EXPECT_GT(events[0].wall_time(), 1.7e9);
  EXPECT_EQ(events[1].step(), 50);
  EXPECT_EQ(events[1].summary().value(0).tag(), "loss");
  EXPECT_EQ(events[1].summary().value(0).simple_value(), 0.25f);
  EXPECT_EQ(events[2].step(), 60);
  EXPECT_EQ(events[2].summary().value(0).image().encoded_image_string(), "png bytes");
  EXPECT_EQ(events[2].summary().value(0).image().width(), 12);
  EXPECT_EQ(events[2].summary().value(0).image().height(), 8);
}

TEST(EventLogTest, AResumedRunTakesBackWhatItRepeats) {
  const std::string folder = testing::FreshFolder();
  auto first = EventLog::Create(folder, 0), second = EventLog::Create(folder, 40);
  ASSERT_TRUE(first.ok() && second.ok());

  const auto events = ReadEvents((*second)->path());

  EXPECT_LT((*first)->path(), (*second)->path());
  ASSERT_EQ(events.size(), 2u);
  EXPECT_EQ(events[1].step(), 40);
  EXPECT_EQ(events[1].session_log().status(), tensorboard::SessionLog::START);
}

TEST(EventLogTest, AFolderThatIsNotThereIsAnError) {
  EXPECT_EQ(EventLog::Create(testing::FreshFolder() + "/no/such", 0).status().code(),
            absl::StatusCode::kUnavailable);
}

}  // namespace
}  // namespace reenact

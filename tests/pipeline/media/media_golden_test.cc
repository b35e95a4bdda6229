// The decoders against the frames that the reference landmarks were computed on: byte equality by
// SHA-256.
extern "C" {
#include <libavutil/mem.h>
#include <libavutil/sha.h>
}

#include <map>
#include <nlohmann/json.hpp>

#include "pipeline/media/image_codec.h"
#include "tests/pipeline/media/media_testing.h"

namespace reenact {
namespace {

using nlohmann::json;
using testing::IsOk;

std::string Sha256(const std::vector<uint8_t>& bytes) {
  AVSHA* sha = av_sha_alloc();
  uint8_t digest[32];
  av_sha_init(sha, 256);
  av_sha_update(sha, bytes.data(), bytes.size());
  av_sha_final(sha, digest);
  av_free(sha);
  std::string hex;
  for (uint8_t byte : digest) {
    constexpr char kDigits[] = "0123456789abcdef";
    hex += kDigits[byte >> 4];
    hex += kDigits[byte & 15];
  }
  return hex;
}

// Metadata of a safetensors file: 8 bytes of length, then JSON.
json Metadata(const std::string& file) {
  const std::string bytes = testing::ReadFile(file);
  uint64_t size = 0;
  for (int i = 7; i >= 0; --i) size = size << 8 | static_cast<uint8_t>(bytes[i]);
  return json::parse(bytes.substr(8, size)).at("__metadata__");
}

TEST(MediaGoldenTest, PicturesAndFramesEqualTheReferenceDecoders) {
  REENACT_REQUIRE_DATA();
  const std::string golden = testing::GoldenDir();
  if (golden.empty()) {
    if (testing::MustHaveData()) FAIL() << "REENACT_GOLDEN_DIR is not there";
    GTEST_SKIP() << "REENACT_GOLDEN_DIR is not there";
  }
  // File -> frame index (-1 for a picture) -> hash.
  std::map<std::string, std::map<int, std::string>> expected;
  for (const std::string& file : testing::FilesWithPrefix(golden + "/face", "facemesh")) {
    const json metadata = Metadata(file);
    for (const std::string prefix : {"", "static."}) {
      if (!metadata.contains(prefix + "names")) continue;
      const json names = json::parse(metadata.at(prefix + "names").get<std::string>());
      const json hashes = json::parse(metadata.at(prefix + "rgb_sha256").get<std::string>());
      ASSERT_EQ(names.size(), hashes.size());
      for (size_t i = 0; i < names.size(); ++i) {
        const std::string name = names[i];
        const size_t mark = name.find('#');
        const int index = mark == std::string::npos ? -1 : std::stoi(name.substr(mark + 1));
        expected[name.substr(0, mark)][index] = hashes[i];
      }
    }
  }
  ASSERT_FALSE(expected.empty()) << "no face/facemesh*.safetensors";

  int num_checked = 0;
  for (const auto& [name, hashes] : expected) {
    SCOPED_TRACE(name);
    const std::string bytes = testing::ReadFile(testing::DataDir() + "/" + name);
    ASSERT_FALSE(bytes.empty());
    if (hashes.contains(-1)) {
      const auto image = DecodeImage(bytes, {}, Orientation::kIgnore);
      ASSERT_THAT(image, IsOk());
      EXPECT_EQ(Sha256(image->rgb), hashes.at(-1));
      ++num_checked;
      continue;
    }
    const testing::Clip clip = testing::ReadClip(bytes);
    ASSERT_THAT(clip.end, IsOk());
    for (const auto& [index, hash] : hashes) {
      ASSERT_LT(index, static_cast<int>(clip.frames.size()));
      EXPECT_EQ(Sha256(clip.frames[index].image.rgb), hash) << "frame " << index;
      ++num_checked;
    }
  }
  EXPECT_GT(num_checked, 0);
}

}  // namespace
}  // namespace reenact

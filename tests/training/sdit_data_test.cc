#include "training/sdit_data.h"

#include "pipeline/weights/safetensors.h"
#include "tests/support/face_models.h"
#include "tests/training/tiny_autoencoder.h"
#include "tests/training/tiny_data.h"

namespace reenact {
namespace {

using FindLandmarksTest = testing::FaceModelTest;

// People large enough to be found, and a picture without a face.
DataCache DrawnFaces() {
  DataOptions options = testing::TinyDataOptions(testing::FreshFolder());
  options.people = 2;
  options.frames = 3;
  options.size = 128;
  std::ostringstream log;
  const absl::Status status = WriteDataCache(options, log);
  if (!status.ok()) throw std::runtime_error(status.ToString());
  auto data = ReadDataCache(options.out);
  if (!data.ok()) throw std::runtime_error(data.status().ToString());
  data->frames[1][2].fill_(90);
  return *std::move(data);
}

TEST_F(FindLandmarksTest, AreNearTheExactOnesAndNanWhereThereIsNoFace) {
  const DataCache data = DrawnFaces();

  const auto found = FindLandmarks(data, *landmarker_);

  ASSERT_TRUE(found.ok()) << found.status();
  ASSERT_EQ(found->sizes(), data.landmarks.sizes());
  for (int64_t p = 0; p < data.num_people(); ++p) {
    for (int64_t f = 0; f < data.num_frames(); ++f) {
      if (p == 1 && f == 2) {
        EXPECT_TRUE((*found)[p][f].isnan().all().item<bool>());
        continue;
      }
      Landmarks flat = ToLandmarks((*found)[p][f]), exact = ToLandmarks(data.landmarks[p][f]);
      // Depths have another origin.
      for (Landmarks* landmarks : {&flat, &exact}) {
        for (Point3& point : *landmarks) point.z = 0;
      }
      EXPECT_LT(MeanDistance(flat, exact), 0.15 * EyeDistance(exact)) << p << ' ' << f;
    }
  }
}

TEST_F(FindLandmarksTest, LieInTheFileOfTheLatentsOnlyIfTheyWereLookedFor) {
  const DataCache data = DrawnFaces();
  const auto trainee = testing::MakeTinyAutoencoder(testing::TinyAutoencoderOptions());
  TrainedAutoencoder autoencoder{trainee->config(), trainee->averaged(), {}};
  const std::string folder = testing::FreshFolder();
  const auto found = FindLandmarks(data, *landmarker_);
  ASSERT_TRUE(found.ok()) << found.status();

  ASSERT_TRUE(WriteLatents(folder + "/with", autoencoder, data, /*bfloat16=*/false, *found).ok());
  ASSERT_TRUE(WriteLatents(folder + "/without", autoencoder, data, /*bfloat16=*/false).ok());

  const auto with = ReadLatents(folder + "/with", data);
  const auto without = ReadLatents(folder + "/without", data);
  ASSERT_TRUE(with.ok() && without.ok()) << with.status() << without.status();
  EXPECT_TRUE(torch::equal(with->latents, without->latents));
  EXPECT_FALSE(without->landmarks.defined());
  EXPECT_TRUE(torch::equal(with->landmarks.nan_to_num(), found->nan_to_num()));

  // Of another shape they are refused.
  auto file = ReadSafetensors(folder + "/with");
  ASSERT_TRUE(file.ok()) << file.status();
  file->tensors["landmarks"] = file->tensors["landmarks"].narrow(2, 0, 468).contiguous();
  ASSERT_TRUE(WriteSafetensors(folder + "/bad", file->tensors, file->metadata).ok());
  EXPECT_THAT(ReadLatents(folder + "/bad", data).status().message(),
              ::testing::HasSubstr("its landmarks do not fit"));
}

}  // namespace
}  // namespace reenact

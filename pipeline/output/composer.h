// Generated face squares to the picture that is sent: side by side, or put back into the whole
// picture they were cropped from, and the matte of the faces in it.
//
// The matte of a square is what would be put back of it: the face, grown to the head as
// PasteBackOptions::area says, from the landmarks it was generated for. The matte of a whole
// picture is what really was put back.
//
// Thread-compatible.
#pragma once

#include <cstddef>
#include <optional>
#include <vector>

#include "absl/status/status.h"
#include "pipeline/compose/paste_back.h"
#include "pipeline/face/crop.h"
#include "pipeline/face/landmarks.h"
#include "pipeline/image.h"
#include "pipeline/output/output_encoder.h"
#include "pipeline/source/source_video.h"
#include "pipeline/types.h"

namespace reenact {

class Composer {
 public:
  struct Options {
    PasteBackOptions paste_back;
    bool matte = false;
    int square_size = 0;  // pixels; of squares side by side
  };
  struct Face {
    CropBox box;                        // in the whole picture
    std::optional<Landmarks> original;  // the face that is there, in units of the box
  };
  // Squares side by side: of `faces` only the number counts.
  Composer(const Options& options, size_t num_faces);
  // Squares that are put back into `whole`, or into the frame of `clip` that is shown at the time
  // (where `box` and `original` count for nothing). It must outlive the composer.
  Composer(const Options& options, std::vector<Face> faces, const Image& whole);
  Composer(const Options& options, std::vector<Face> faces, SourceClip& clip);

  // Of every picture, without the matte.
  int width() const;
  int height() const;

  // What was generated for one face.
  struct Generated {
    Image square;
    Landmarks landmarks;  // what it was to show, in units of the square; if needs_landmarks()
  };
  bool needs_landmarks() const { return puts_back() || options_.matte; }
  // The next frame, `seconds` after the first, one square per face in their order. Reuses the
  // memory of `picture`.
  absl::Status Compose(double seconds, std::vector<Generated> faces, OutputPicture* picture);

 private:
  Composer(const Options& options, std::vector<Face> faces, const Image* whole, SourceClip* clip);

  bool puts_back() const { return whole_ != nullptr || clip_ != nullptr; }
  absl::Status PutIntoClip(double seconds, const std::vector<Generated>& faces,
                           OutputPicture* picture);
  void PutSideBySide(std::vector<Generated> faces, OutputPicture* picture) const;

  const Options options_;
  const std::vector<Face> faces_;
  const Image* const whole_;
  SourceClip* const clip_;
  std::vector<PasteBack> paste_backs_;  // one per face
  std::vector<size_t> order_;           // of faces: smaller ones, farther away, first
  int scene_ = 0;                       // of the clip's last frame
};

}  // namespace reenact

// Several synthetic people in one picture, moving as told, those added later in front.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <utility>
#include <vector>

#include "pipeline/face/landmarks.h"
#include "pipeline/face/roi.h"
#include "pipeline/image.h"
#include "training/people/people.h"

namespace reenact::testing {

class Stage {
 public:
  // Where the middle of an actor's square is in a frame, in pixels, and its side; a side of 0: he
  // is not there.
  struct Place {
    double x = 0, y = 0, side = 0;
  };

  struct Frame {
    Image image;
    // Per actor, in units of the picture; empty where he is not there.
    std::vector<std::vector<Landmarks>> landmarks;
  };

  Stage(int width, int height, uint8_t shade = 120)
      : width_(width), height_(height), shade_(shade) {}

  void Add(uint64_t person, std::function<Place(int frame)> place) {
    Person black = MakePerson(person), white = black;
    black.backdrop = white.backdrop = Backdrop::kPlain;
    black.background.color = {0, 0, 0};
    white.background.color = {255, 255, 255};
    actors_.push_back({PersonRenderer(black), PersonRenderer(white), MakeClip(person, 200, 25),
                       std::move(place)});
  }

  Frame Draw(int frame) const {
    Frame out;
    out.image = {width_, height_, std::vector<uint8_t>(static_cast<size_t>(width_) * height_ * 3)};
    for (int y = 0; y < height_; ++y) {
      for (int x = 0; x < width_; ++x) {
        // A wall with a pattern, so that it is no plain surface.
        const int level = shade_ + ((x / 20 + y / 20) % 2 == 0 ? 6 : -6);
        for (int c = 0; c < 3; ++c) {
          out.image.row(y)[3 * x + c] = static_cast<uint8_t>(level - 8 * c);
        }
      }
    }
    for (const Actor& actor : actors_) {
      out.landmarks.emplace_back();
      const Place place = actor.place(frame);
      const int side = static_cast<int>(std::lround(place.side));
      if (side <= 0) continue;
      FaceState state = actor.motion[static_cast<size_t>(frame) % actor.motion.size()];
      state.view = {};
      const Render black = actor.black.Draw(state, side, 1),
                   white = actor.white.Draw(state, side, 1);
      const int left = static_cast<int>(std::lround(place.x - place.side / 2));
      const int top = static_cast<int>(std::lround(place.y - place.side / 2));
      for (int y = std::max(0, -top); y < std::min(side, height_ - top); ++y) {
        for (int x = std::max(0, -left); x < std::min(side, width_ - left); ++x) {
          const uint8_t* on_black = black.image.row(y) + 3 * x;
          const uint8_t* on_white = white.image.row(y) + 3 * x;
          uint8_t* pixel = out.image.row(top + y) + 3 * (left + x);
          for (int c = 0; c < 3; ++c) {
            // What the backdrop shows through.
            const int through = std::clamp(int{on_white[c]} - on_black[c], 0, 255);
            pixel[c] = static_cast<uint8_t>(std::min(on_black[c] + pixel[c] * through / 255, 255));
          }
        }
      }
      Landmarks landmarks = black.landmarks;
      for (Point3& p : landmarks) {
        p.x = (p.x * static_cast<float>(side) + static_cast<float>(left)) /
              static_cast<float>(width_);
        p.y = (p.y * static_cast<float>(side) + static_cast<float>(top)) /
              static_cast<float>(height_);
        p.z = p.z * static_cast<float>(side) / static_cast<float>(width_);
      }
      out.landmarks.back().push_back(landmarks);
    }
    return out;
  }

  // Which actor of a frame has this box: the one whose box overlaps it most, by a third at least;
  // -1: none.
  static int WhoIs(const Frame& frame, const Box& box) {
    int who = -1;
    float most = 1.0f / 3;
    for (size_t i = 0; i < frame.landmarks.size(); ++i) {
      if (frame.landmarks[i].empty()) continue;
      const float overlap = IntersectionOverUnion(BoxOf(frame.landmarks[i].front()), box);
      if (overlap > most) most = overlap, who = static_cast<int>(i);
    }
    return who;
  }

 private:
  struct Actor {
    PersonRenderer black, white;
    std::vector<FaceState> motion;
    std::function<Place(int)> place;
  };

  const int width_, height_;
  const uint8_t shade_;
  std::vector<Actor> actors_;
};

}  // namespace reenact::testing

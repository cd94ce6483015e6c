/**
 * Draws what changed, at most once for each frame of the screen, and no more often than a person can read.
 *
 * Knows nothing of what is drawn. However many events come, a painter that was asked for paints once; while the page is
 * hidden, it does not paint at all.
 * @module
 */

export class Painter {
  /**
   * @param {() => void} paint
   * @param {number} [intervalMs] between two paintings, at least
   */
  constructor(paint, intervalMs = 0) {
    this.paint = paint;
    this.intervalMs = intervalMs;
    this.paintedAtMs = -Infinity;
    this.isAsked = false;
  }

  /** Something changed. */
  request() {
    if (this.isAsked) return;
    this.isAsked = true;
    const waitMs = this.paintedAtMs + this.intervalMs - performance.now();
    if (waitMs > 0) setTimeout(() => this.onFrame(), waitMs);
    else this.onFrame();
  }

  onFrame() {
    requestAnimationFrame(() => {
      this.isAsked = false;
      this.paintedAtMs = performance.now();
      this.paint();
    });
  }
}

// Where a picture lies on the board: its scale in screen pixels, and its left top corner.

const most = 32;

/** The view of a picture on a board, both with width and height. */
export class View {
  constructor(picture) {
    this.picture = picture;
    this.scale = 1;
    this.x = 0;
    this.y = 0;
    this.board = { width: 1, height: 1 };
  }

  /** The scale at which the whole picture is seen. */
  get least() {
    return Math.min(this.board.width / this.picture.width, this.board.height / this.picture.height, 8);
  }

  /** Shows the whole picture in the middle of the board. */
  fit(margin = 24) {
    const { width, height } = this.picture;
    this.scale = Math.max(0.01, Math.min((this.board.width - 2 * margin) / width, (this.board.height - 2 * margin) / height, 8));
    this.x = (this.board.width - width * this.scale) / 2;
    this.y = (this.board.height - height * this.scale) / 2;
  }

  /** Zooms; the place of the board that is given stays where it is. */
  zoom(factor, at = { x: this.board.width / 2, y: this.board.height / 2 }) {
    const scale = Math.min(most, Math.max(this.least / 4, this.scale * factor));
    this.x = at.x - (at.x - this.x) * (scale / this.scale);
    this.y = at.y - (at.y - this.y) * (scale / this.scale);
    this.scale = scale;
  }

  /** Moves the picture, but never off the board. */
  move(dx, dy) {
    const edge = 40;
    const { width, height } = this.picture;
    this.x = Math.min(this.board.width - edge, Math.max(edge - width * this.scale, this.x + dx));
    this.y = Math.min(this.board.height - edge, Math.max(edge - height * this.scale, this.y + dy));
  }

  /** The picture's point at a place of the board. */
  at({ x, y }) {
    return { x: (x - this.x) / this.scale, y: (y - this.y) / this.scale };
  }

  /** The place on the board of a picture's point. */
  place({ x, y }) {
    return { x: x * this.scale + this.x, y: y * this.scale + this.y };
  }
}

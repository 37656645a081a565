export class Presence {
  constructor(home) { this.home = home; }
  start() {}
  stop() {}
  wants() { return false; }
  linked() {}
  unlinked() {}
  heard() {}
  fromEdge() {}
  edgeLost() {}
  judgeAnew() {}
}

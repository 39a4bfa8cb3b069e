/** Descriptors of the maps that a relay program goes by. */
export interface RelayMaps {
  readonly routes: number;
  readonly states: number;
  readonly hops: number;
  readonly outcomes: number;
}

package proposer

import (
	"testing"

	"github.com/ethereum/go-ethereum/common"
	"github.com/google/go-cmp/cmp"
)

// A relay that checks conditions includes the bundle only where all its operations are valid, and while what they read stands.
func TestConditionsAreThoseOfAllOperations(t *testing.T) {
	s := newScene(t)
	s.add(t, operation(1), operation(2), operation(3), operation(4), operation(5))
	shared, own := address('c', 1), address('c', 2)
	s.validator.validations = map[common.Address]Validation{
		operation(1).Op.Sender: {ValidAfter: 900, ValidUntil: 2000, Known: Storage{shared: {{1}: {11}}}},
		operation(2).Op.Sender: {ValidAfter: 950, Known: Storage{shared: {{2}: {12}}, own: {{1}: {13}}}},
		operation(3).Op.Sender: {ValidUntil: 1500},
		operation(4).Op.Sender: {ValidAfter: 90, ValidUntil: 190, ValidityInBlocks: true},
		operation(5).Op.Sender: {ValidAfter: 80, ValidUntil: 180, ValidityInBlocks: true},
	}
	want := Conditions{
		Known:   Storage{shared: {{1}: {11}, {2}: {12}}, own: {{1}: {13}}},
		TimeMin: 950, TimeMax: 1500, BlockMin: 90, BlockMax: 180,
	}
	bundle := s.propose(t, request()).Bundle
	if bundle == nil || len(bundle.Ops) != 5 {
		t.Fatalf("have %+v, want a bundle of five", bundle)
	}
	if diff := cmp.Diff(want, bundle.Conditions); diff != "" {
		t.Errorf("conditions (-want +have):\n%s", diff)
	}
}
